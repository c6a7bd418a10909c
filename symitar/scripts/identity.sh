# identity.sh without parameters
echo "machine=$(uname -m)"
echo "hostname=$(hostname)"
echo "user=$(id -un)"
echo "system=$(uname -s)"
