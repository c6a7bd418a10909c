# Makes a folder what a copy holds; what was there is kept beside it. Document: dir (the copy), to. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$list = [IO.Path]::Combine($d.dir, 'manifest.json')
if (-not [IO.File]::Exists($list)) { throw 'there is no complete copy' }
$to = $d.to.TrimEnd('\')
$new = $to + '.restored'
$global:Touched = $true
if (Test-Path -LiteralPath $new) { Remove-Item -LiteralPath $new -Recurse -Force }
& robocopy.exe ([IO.Path]::Combine($d.dir, 'files')) $new '/E' '/COPY:DAT' '/DCOPY:T' '/R:1' '/W:1' '/NFL' '/NDL' '/NP' '/NJH' '/NJS' | Out-Null
# Documented: 4 and above tell of files that do not match or were not copied. Below 0 it was ended by something else.
if ($LASTEXITCODE -lt 0 -or $LASTEXITCODE -ge 4) { throw ('robocopy ended with ' + $LASTEXITCODE) }
$global:LASTEXITCODE = 0
# Nothing takes the folder's place unless it is what the list says, file by file.
$names = @{}
foreach ($e in (ConvertFrom-Json -InputObject ([IO.File]::ReadAllText($list)))) {
  $file = [IO.Path]::Combine($new, $e.path.Replace('/', '\'))
  if (-not (Test-Path -LiteralPath $file -PathType Leaf)) { throw ('the copy lacks ' + $e.path) }
  if ((Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash -ne $e.sha256) { throw ('the copy has another ' + $e.path) }
  $names[$e.path] = $true # one that is listed twice counts once
}
if (@(Get-ChildItem -LiteralPath $new -Recurse -Force -File).Count -ne $names.Count) { throw 'the copy has files that are not in its list' }
# Directory.Move fails where the name is taken, and never moves a folder into another one.
if (Test-Path -LiteralPath $to) {
  [IO.Directory]::Move($to, $to + '.before-rollback-' + [DateTime]::UtcNow.ToString('yyyyMMddHHmmss', [Globalization.CultureInfo]::InvariantCulture))
}
[IO.Directory]::Move($new, $to)
[pscustomobject]@{ done = $true }
