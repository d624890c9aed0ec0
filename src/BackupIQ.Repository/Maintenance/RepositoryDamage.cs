namespace BackupIQ.Repository.Maintenance;

/// <summary>What a finding is about.</summary>
public enum DamageKind
{
    /// <summary>A copy of the configuration.</summary>
    Configuration,

    /// <summary>A key slot.</summary>
    KeySlot,

    /// <summary>An index segment cannot be read, or says what is not so.</summary>
    IndexSegment,

    /// <summary>Snapshots need packs that no readable index segment names; the packs are whole.</summary>
    IndexLost,

    /// <summary>A snapshot's or partial snapshot's document.</summary>
    Snapshot,

    /// <summary>A session object, mark, annotation or other small object.</summary>
    SmallObject,

    /// <summary>The index names a pack that is not there.</summary>
    PackMissing,

    /// <summary>A pack has other bytes than it was written with.</summary>
    PackDamaged,

    /// <summary>A snapshot needs a chunk that is in no pack.</summary>
    ChunkMissing,

    /// <summary>A directory, scan or list of chunks opens but is not well formed.</summary>
    TreeMalformed,

    /// <summary>A page map opens, and the pages that it names are not those that were read when it was written.</summary>
    PagesWrong,

    /// <summary>A file of a database server's log.</summary>
    Log,
}

/// <summary>Whether something is lost or could be.</summary>
public enum DamageSeverity
{
    /// <summary>Nothing that a complete snapshot needs is touched.</summary>
    Warning,

    /// <summary>An object is not what it should be: exit code 14.</summary>
    Error,
}

/// <summary>Something that a check found.</summary>
/// <param name="Kind">What it is about.</param>
/// <param name="Severity">Whether it is damage or worth knowing.</param>
/// <param name="ObjectName">The object's name in the repository.</param>
/// <param name="Problem">What is wrong with it: half a sentence that follows the name.</param>
/// <param name="Pack">The pack, when it is about one.</param>
public sealed record RepositoryDamage(DamageKind Kind, DamageSeverity Severity, string ObjectName, string Problem, PackId? Pack = null)
{
    /// <inheritdoc/>
    public override string ToString() => $"{ObjectName}: {Problem}.";
}
