using BackupIQ.Cli;
using BackupIQ.Cli.Parsing;

NativeHeap.GiveBackWhatIsFreed();
string[] arguments = OsText.Arguments(args, static () => File.ReadAllBytes("/proc/self/cmdline"));
return await new CommandLine(TerminalDevice.Connect()).RunAsync(arguments);
