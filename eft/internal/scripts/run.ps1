# Tells what became of a run of the installer. Document: runs, id, void. With void it takes the claim where nobody has, so
# that a start that comes later does nothing; else it changes nothing.
# States: 1 nobody claimed it, 2 it runs, 3 it ended, 4 it is gone without an exit code. 0 is never said: it would be read from an
# answer that says nothing.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$base = [IO.Path]::Combine($d.runs, $d.id)
# Whoever writes or moves a file may hold it for a moment, and a virus scanner does so afterwards.
function Read-File($path) {
  for ($n = 0; ; $n++) {
    try {
      $stream = New-Object IO.FileStream $path, 'Open', 'Read', 'ReadWrite, Delete'
      try { return (New-Object IO.StreamReader $stream).ReadToEnd() } finally { $stream.Dispose() }
    } catch {
      if ($n -ge 20) { throw }
      Start-Sleep -Milliseconds 100
    }
  }
}
$claim = $base + '.claim'
if ($d.void) {
  $global:Touched = $true
  [void][IO.Directory]::CreateDirectory($d.runs)
  $mine = $base + '.void.' + [string]$PID
  [IO.File]::WriteAllText($mine, 'void')
}
# A claim that says void was taken so that nothing can start under it.
$turn = 0
while ($true) {
  while ([IO.File]::Exists($claim) -and (Read-File $claim) -eq 'void') { $claim += '.next'; $turn++ }
  if ([IO.File]::Exists($claim) -or -not $mine) { break }
  try { [IO.File]::Move($mine, $claim); $mine = $null } catch { if (-not [IO.File]::Exists($claim)) { throw } }
}
if ($mine) { [IO.File]::Delete($mine) }
if (-not [IO.File]::Exists($claim)) { return [pscustomobject]@{ state = 1; turn = $turn; exit = 0; began = $null; ended = $null; log = '' } }
$words = (Read-File $claim).Split(' ')
$alive = $false
$number = 0
$ticks = [long]0
$whole = $words.Count -eq 3 -and [int]::TryParse($words[0], [ref]$number) -and [long]::TryParse($words[1], [ref]$ticks)
if ($whole) {
  # A number is used again; the start time tells which process it is. Without one it has ended, or may be ours.
  $p = Get-Process -Id $number -ErrorAction SilentlyContinue
  if ($p -and $null -eq $p.StartTime) { $alive = -not $p.HasExited } elseif ($p) { $alive = $p.StartTime.ToUniversalTime().Ticks -eq $ticks }
}
$began = $null
if ($whole) { $began = $words[2] }
# The order matters: a run that ends between two looks has written its result.
if ([IO.File]::Exists($base + '.exit')) {
  $r = ConvertFrom-Json -InputObject (Read-File ($base + '.exit'))
  if ($null -eq $r.exit) { return [pscustomobject]@{ state = 4; exit = 0; began = $began; ended = $null; log = [string]$r.log } }
  return [pscustomobject]@{ state = 3; exit = [int]$r.exit; began = $began; ended = ([DateTime]$r.ended).ToUniversalTime().ToString('o'); log = [string]$r.log }
}
$state = 4
if ($alive) { $state = 2 }
$waits = ''
if ([IO.File]::Exists($base + '.waits')) { $waits = Read-File ($base + '.waits') }
[pscustomobject]@{ state = $state; exit = 0; began = $began; ended = $null; log = ''; waits = $waits }
