using System.Runtime.InteropServices;
using System.Text;

namespace BackupIQ.Cli;

/// <summary>The terminal behind the standard streams. Asked directly: the runtime's console costs start-up time that most runs need not pay.</summary>
internal static unsafe partial class TerminalDevice
{
    private const nuint GetWindowSize = 0x5413;
    private const int DefaultColumns = 80;

    /// <summary>The world of a real process.</summary>
    public static CliHost Connect()
    {
        bool errorIsTerminal = IsTerminal(2);
        return new CliHost
        {
            Output = Console.OpenStandardOutput(),
            Error = new StreamWriter(Console.OpenStandardError(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), 1024) { AutoFlush = true },
            Input = Console.OpenStandardInput,
            Environment = System.Environment.GetEnvironmentVariable,
            Time = TimeProvider.System,
            OutputIsTerminal = IsTerminal(1),
            ErrorIsTerminal = errorIsTerminal,
            InputIsTerminal = IsTerminal(0),
            Columns = () => Columns(2),
            ReadLine = Console.ReadLine,
            ReadHidden = ReadHidden,
        };
    }

    private static bool IsTerminal(int descriptor) => isatty(descriptor) == 1;

    private static int Columns(int descriptor)
    {
        WindowSize size;
        return ioctl(descriptor, GetWindowSize, &size) == 0 && size.Columns > 0 ? size.Columns : DefaultColumns;
    }

    private static string? ReadHidden()
    {
        StringBuilder line = new();
        while (true)
        {
            ConsoleKeyInfo key = Console.ReadKey(intercept: true);
            switch (key.Key)
            {
                case ConsoleKey.Enter:
                    return line.ToString();
                case ConsoleKey.D when key.Modifiers == ConsoleModifiers.Control && line.Length == 0:
                    return null;
                case ConsoleKey.Backspace:
                    line.Length = Math.Max(0, line.Length - 1);
                    break;
                default:
                    if (key.KeyChar >= ' ')
                    {
                        line.Append(key.KeyChar);
                    }

                    break;
            }
        }
    }

    [LibraryImport("libc")]
    private static partial int isatty(int descriptor);

    [LibraryImport("libc")]
    private static partial int ioctl(int descriptor, nuint request, WindowSize* size);

    [StructLayout(LayoutKind.Sequential)]
    private struct WindowSize
    {
        public ushort Rows;
        public ushort Columns;
        public ushort PixelsX;
        public ushort PixelsY;
    }
}
