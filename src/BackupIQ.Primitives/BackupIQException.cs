namespace BackupIQ.Primitives;

/// <summary>
/// A failure that BackupIQ tells of: what failed (<see cref="Exception.Message"/>), what to do (<see cref="Guidance"/>) and what it
/// means (<see cref="Code"/>). Message and guidance are safe to show anyone; paths, hosts and a server's own words are
/// <see cref="Details"/>, which the command line prints for the person who runs it and a server keeps for its log.
/// </summary>
/// <remarks>Misuse of an API is not one of these: it throws the CLR's own exceptions.</remarks>
public class BackupIQException : Exception
{
    private readonly Dictionary<string, string> _details = new(StringComparer.Ordinal);

    /// <summary>Makes a failure of kind <paramref name="code"/>; without <paramref name="guidance"/> the code's own is used.</summary>
    public BackupIQException(ErrorCode code, string message, string? guidance = null, Exception? inner = null)
        : base(message, inner)
    {
        Code = code;
        Guidance = guidance ?? code.Guidance;
    }

    /// <summary>What kind of failure this is.</summary>
    public ErrorCode Code { get; }

    /// <summary>What a person can do next.</summary>
    public string Guidance { get; }

    /// <summary>Whether the same call may go through later; only such failures are retried, in one place.</summary>
    public bool IsTransient => Code.IsTransient;

    /// <summary>The HTTP status with which the API answers.</summary>
    public int HttpStatus => Code.HttpStatus;

    /// <summary>Paths, hosts, answers of servers: for logs and for the person at the terminal, not for strangers.</summary>
    public IReadOnlyDictionary<string, string> Details => _details;

    /// <summary>Adds a detail and returns this same exception, so that it can be thrown in one expression.</summary>
    public BackupIQException With(string name, string value)
    {
        _details[name] = value;
        return this;
    }
}
