# Tells size, SHA-256 and the product a file says it is. Document: path. Changes nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
if (-not (Test-Path -LiteralPath $d.path -PathType Leaf)) { return [pscustomobject]@{ size = 0; sha256 = ''; product = ''; version = '' } }
$info = [Diagnostics.FileVersionInfo]::GetVersionInfo($d.path)
$version = ''
if ([string]$info.ProductVersion -match '^\s*(\d{1,9}(\.\d{1,9}){0,3})(?![\d.])') { $version = $Matches[1] }
[pscustomobject]@{ size = (Get-Item -LiteralPath $d.path).Length; sha256 = (Get-FileHash -LiteralPath $d.path -Algorithm SHA256).Hash.ToLowerInvariant()
  product = ([string]$info.ProductName).Trim(); version = $version }
