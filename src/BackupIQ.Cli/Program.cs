using BackupIQ.Cli;
using BackupIQ.Cli.Parsing;

string[] arguments = OsText.Arguments(args, static () => File.ReadAllBytes("/proc/self/cmdline"));
return await new CommandLine(TerminalDevice.Connect()).RunAsync(arguments);
