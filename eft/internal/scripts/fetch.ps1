# Fetches the installer from a URL; it appears at its path only when its SHA-256 is right.
# Document: url, path, sha256.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
if (-not $d.url.StartsWith('https://')) { throw 'the address is not https' }
if (-not [IO.Directory]::Exists([IO.Path]::GetDirectoryName($d.path))) { throw 'the folder for the file is not there' }
$part = $d.path + '.part-' + [Guid]::NewGuid().ToString('N')
$global:Touched = $true
try {
  [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
  Invoke-WebRequest -Uri $d.url -OutFile $part -UseBasicParsing
  if ((Get-FileHash -LiteralPath $part -Algorithm SHA256).Hash -ne $d.sha256) { throw 'what was fetched has another SHA-256' }
  Move-Item -LiteralPath $part -Destination $d.path
} finally {
  if (Test-Path -LiteralPath $part) { Remove-Item -LiteralPath $part -Force }
}
[pscustomobject]@{ done = $true }
