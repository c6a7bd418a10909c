// Package powershell runs PowerShell scripts on Windows machines over SSH and reads their answers.
//
// A script is a .ps1 file with one parameter, a JSON document, and one output, an object. An administrator can run it
// alone; on the wire frame.ps1 runs it. The command line is the same for every call: it holds frame.ps1, encoded, and
// stays far below the 8191 characters cmd.exe allows (documented: Microsoft KB 830473). Script and parameters follow
// on standard input as base64, so no name ever passes a shell or becomes part of a script text, and the console's
// code page does not matter. The answer is one base64 document between markers: banners, profile output and the
// CLIXML noise of PowerShell 5.1 around it do no harm.
//
// Exit status 17 says that the script ran and failed. The document then holds the chain of exceptions with HRESULT and
// Win32 code, which is what callers judge by; texts are localised. It also says whether the script had touched
// anything (it sets $global:Touched before its first change), so that a failure before that is known not to have
// changed anything, and whether its last change was made ($global:Changed), so that the failure came after it. A complete
// answer decides whatever the exit status: a PowerShell as login shell turns 17 into 1 (seen).
//
// The program is Windows PowerShell 5.1, which is part of every Windows Server. PowerShell 7 reaches the module
// FailoverClusters only through its compatibility layer (documented: Microsoft lists the module as untested with it).
//
// The scripts pass a PowerShell grammar and use what 5.1 and 7 share; tests run some of them in PowerShell 7, none in 5.1.
// The host reads standard input itself for a command that uses $input (seen in PowerShell's source); where one does not,
// it is on [Console]::In. That both hold under Win32-OpenSSH is inferred.
package powershell
