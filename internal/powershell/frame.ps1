# Runs the script that arrives on standard input and answers with one framed JSON document.
# Input, three lines: script as base64 of UTF-8, its JSON parameter document as base64 of UTF-8, the word end.
# Output: <<<R:base64 of UTF-8 JSON:R>>>. Exit 0: it ran. Exit 17: it ran and failed, and the document says how.
# Exit 18 and <<<L:mode>>>: a policy keeps PowerShell from doing what scripts need; nothing was run.
$mode = $ExecutionContext.SessionState.LanguageMode
if ($mode -ne 'FullLanguage') {
  Write-Output "<<<L:$mode>>>"
  exit 18
}
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
# A script sets these to true immediately before its first change, and after its last one.
$global:Touched = $false
$global:Changed = $false
function Out-Result($o) {
  $j = ConvertTo-Json -InputObject $o -Depth 6 -Compress
  [Console]::Out.Write('<<<R:' + [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($j)) + ':R>>>')
}
try {
  # Where the host reads standard input itself, it arrives as $input and nothing is left on the console.
  $text = @($input) -join [string][char]10
  if (-not $text) { $text = [Console]::In.ReadToEnd() }
  $lines = $text.Split([char]10)
  # A cut line must not run the part that arrived.
  if ($lines.Count -lt 3 -or $lines[2].Trim() -ne 'end') { throw 'the input was cut off' }
  $utf8 = [Text.Encoding]::UTF8
  $text = $utf8.GetString([Convert]::FromBase64String($lines[0].Trim()))
  $script = [scriptblock]::Create($text)
  $document = $utf8.GetString([Convert]::FromBase64String($lines[1].Trim()))
  $data = & $script $document
  Out-Result ([pscustomobject]@{ ok = $true; data = $data })
  exit 0
} catch {
  $chain = @()
  for ($e = $_.Exception; $e; $e = $e.InnerException) {
    $n = 0
    if ($e -is [ComponentModel.Win32Exception]) { $n = $e.NativeErrorCode }
    $chain += [pscustomobject]@{ type = $e.GetType().FullName; hresult = '0x{0:X8}' -f $e.HResult; win32 = $n; message = [string]$e.Message }
  }
  Out-Result ([pscustomobject]@{ ok = $false; touched = [bool]$global:Touched; changed = [bool]$global:Changed; fqid = [string]$_.FullyQualifiedErrorId
    category = [string]$_.CategoryInfo.Category; chain = @($chain) })
  exit 17
}
