namespace BackupIQ.Repository;

/// <summary>Damage that was met and survived; whoever meets one tells the user and ends with exit code 14.</summary>
/// <param name="ObjectName">The object's name in the repository.</param>
/// <param name="Problem">What is wrong with it: half a sentence that follows the name.</param>
public sealed record RepositoryFinding(string ObjectName, string Problem)
{
    /// <inheritdoc/>
    public override string ToString() => $"{ObjectName}: {Problem}.";
}
