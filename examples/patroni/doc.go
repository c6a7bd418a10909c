package patroni
