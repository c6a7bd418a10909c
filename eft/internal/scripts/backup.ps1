# Copies a folder into a new one, with a list of SHA-256 sums. Document: from, to, exclude.
# A complete copy stays as it is. Safe to repeat.
param([string]$Document)
$d = ConvertFrom-Json -InputObject $Document
$list = [IO.Path]::Combine($d.to, 'manifest.json')
if ([IO.File]::Exists($list)) { return [pscustomobject]@{ done = $true } }
if (-not (Test-Path -LiteralPath $d.from -PathType Container)) { throw 'there is nothing to copy' }
$drive = [IO.Path]::GetPathRoot($d.to)
if (-not [IO.Directory]::Exists($drive)) { throw ('there is no drive ' + $drive) }
$from = (Get-Item -LiteralPath $d.from).FullName.TrimEnd('\')
$exclude = @($d.exclude | Where-Object { $_ })
# Lists what a folder holds, by walking: a name is never cut out of a path.
function Get-Entries($dir, $under) {
  foreach ($item in @(Get-ChildItem -LiteralPath $dir -Force)) {
    if ('SymbolicLink', 'Junction' -contains [string]$item.LinkType) { throw ('a link cannot be copied: ' + $item.FullName) }
    if ($item.PSIsContainer) {
      if ($exclude -notcontains $item.Name) { Get-Entries $item.FullName ($under + $item.Name + '/') }
      continue
    }
    [pscustomobject]@{ path = $under + $item.Name; size = $item.Length
      sha256 = (Get-FileHash -LiteralPath $item.FullName -Algorithm SHA256).Hash.ToLowerInvariant() }
  }
}
function Get-Line($entry) { $entry.sha256 + ' ' + $entry.size + ' ' + $entry.path }
$before = @(Get-Entries $from '')
$files = [IO.Path]::Combine($d.to, 'files')
$global:Touched = $true
# What an unfinished copy left would be taken for something that was there.
if ([IO.Directory]::Exists($files)) { Remove-Item -LiteralPath $files -Recurse -Force }
[void][IO.Directory]::CreateDirectory($files)
$arguments = @($from, $files, '/E', '/COPY:DAT', '/DCOPY:T', '/R:1', '/W:1', '/NFL', '/NDL', '/NP', '/NJH', '/NJS')
if ($exclude.Count -gt 0) { $arguments += '/XD'; $arguments += $exclude }
& robocopy.exe $arguments | Out-Null
# Documented: 4 and above tell of files that do not match or were not copied. Below 0 it was ended by something else.
if ($LASTEXITCODE -lt 0 -or $LASTEXITCODE -ge 4) { throw ('robocopy ended with ' + $LASTEXITCODE) }
$global:LASTEXITCODE = 0
$entries = @(Get-Entries (Get-Item -LiteralPath $files).FullName '')
# Each file of the copy is as it was before or as it is now; one that is neither was written while it was copied.
$known = New-Object 'Collections.Generic.HashSet[string]'
$copied = New-Object 'Collections.Generic.HashSet[string]'
$after = @(Get-Entries $from '')
foreach ($e in $before + $after) { [void]$known.Add((Get-Line $e)) }
foreach ($e in $entries) {
  if (-not $known.Contains((Get-Line $e))) { throw ('it was written while it was copied: ' + $e.path) }
  [void]$copied.Add($e.path)
}
$still = New-Object 'Collections.Generic.HashSet[string]'
foreach ($e in $after) { [void]$still.Add($e.path) }
foreach ($e in $before) {
  if ($still.Contains($e.path) -and -not $copied.Contains($e.path)) { throw ('the copy lacks ' + $e.path) }
}
[IO.File]::WriteAllText($list + '.part', (ConvertTo-Json -InputObject @($entries) -Depth 3), (New-Object Text.UTF8Encoding $false))
[IO.File]::Move($list + '.part', $list)
[pscustomobject]@{ done = $true }
