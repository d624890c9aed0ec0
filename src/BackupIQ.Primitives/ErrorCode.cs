namespace BackupIQ.Primitives;

/// <summary>
/// One kind of failure that a user can meet: its stable name and what it means for scripts, for the API and for retries.
/// The list is <see cref="ErrorCodes"/>; docs/errors.md shows it to people.
/// </summary>
/// <param name="Name">Stable name, as in <c>StorageConnection</c>. Scripts may rely on it.</param>
/// <param name="HttpStatus">The HTTP status with which the API answers.</param>
/// <param name="ExitCode">The exit code with which the command line ends (docs/errors.md lists them).</param>
/// <param name="IsTransient">Whether the same call may go through later without anybody changing anything.</param>
/// <param name="Guidance">What a person can do about it. Safe to show to anyone.</param>
public sealed record ErrorCode(string Name, int HttpStatus, int ExitCode, bool IsTransient, string Guidance)
{
    /// <inheritdoc/>
    public override string ToString() => Name;
}
