# Tells what became of a run of the installer. Document: runs, id. Changes nothing.
# States: 1 nobody claimed it, 2 it runs, 3 it ended, 4 it is gone without an exit code. 0 is never said: it would be read from an
# answer that says nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$base = Join-Path $d.runs $d.id
if (-not (Test-Path -LiteralPath ($base + '.claim'))) { return [pscustomobject]@{ state = 1; exit = 0; began = $null; ended = $null; log = '' } }
$words = [IO.File]::ReadAllText($base + '.claim').Split(' ')
$alive = $false
if ($words.Count -eq 3) {
  $p = Get-Process -Id ([int]$words[0]) -ErrorAction SilentlyContinue
  # A number is used again; the start time tells which process it is.
  $alive = $p -and ($p.StartTime.ToUniversalTime().Ticks -eq [long]$words[1])
} else { $alive = $true }
# The order matters: a run that ends between two looks has written its result.
if (Test-Path -LiteralPath ($base + '.exit')) {
  $r = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($base + '.exit'))
  if ($null -eq $r.exit) { return [pscustomobject]@{ state = 4; exit = 0; began = $words[2]; ended = $null; log = [string]$r.log } }
  return [pscustomobject]@{ state = 3; exit = [int]$r.exit; began = $words[2]; ended = ([DateTime]$r.ended).ToUniversalTime().ToString('o'); log = [string]$r.log }
}
$began = $null
if ($words.Count -eq 3) { $began = $words[2] }
$state = 4
if ($alive) { $state = 2 }
[pscustomobject]@{ state = $state; exit = 0; began = $began; ended = $null; log = '' }
