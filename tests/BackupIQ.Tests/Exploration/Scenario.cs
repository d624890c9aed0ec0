using BackupIQ.Repository.Maintenance.Collection;

namespace BackupIQ.Tests.Exploration;

/// <summary>Who takes part.</summary>
internal enum Role
{
    /// <summary>Backs up a file that the repository may have already; when it is fenced it begins again, once.</summary>
    Writer,

    /// <summary>Prunes.</summary>
    Collector,

    /// <summary>Prunes, and of two packs with the same chunk keeps another than other collectors would.</summary>
    ContraryCollector,

    /// <summary>Prunes twice.</summary>
    DoubleCollector,

    /// <summary>Removes the snapshot that was there from the beginning.</summary>
    Forget,

    /// <summary>Removes whatever snapshot it sees first.</summary>
    ForgetAny,
}

/// <summary>How the repository stands when the actors begin.</summary>
internal enum Beginning
{
    /// <summary>One snapshot with one file.</summary>
    OneSnapshot,

    /// <summary>The file's chunk and directory are stored, and no snapshot needs them any more.</summary>
    Forgotten,

    /// <summary>The same, and a collector had marked the packs when it was killed.</summary>
    ForgottenAndMarked,

    /// <summary>One snapshot, and a collector had marked its packs when it was killed: somebody relied on them meanwhile.</summary>
    NeededAndMarked,

    /// <summary>One snapshot, and all that it needs stands in two packs each.</summary>
    StoredTwice,
}

/// <summary>What is explored.</summary>
internal sealed record Scenario(Beginning Beginning, params Role[] Roles)
{
    /// <summary>Whether the store itself lets one of two puts on one name win.</summary>
    public bool ConditionalPut { get; init; } = true;

    /// <summary>The repository says that snapshots count once they are confirmed, though the store could do without.</summary>
    public bool ByConfirmation { get; init; }

    /// <summary>Whether commit and fence are put-if-absent on one name.</summary>
    public bool CommitsByName => ConditionalPut && !ByConfirmation;

    /// <summary>What the store declares.</summary>
    public TimeSpan ListingLag { get; init; }

    /// <summary>Rules that are broken, to see that it is found.</summary>
    public ProtocolSwitches Switches { get; init; } = ProtocolSwitches.None;

    public override string ToString() =>
        $"{Beginning}: {string.Join(", ", Roles)}{(ConditionalPut ? "" : ", without conditional put")}{(ByConfirmation ? ", by confirmation" : "")}{(ListingLag > TimeSpan.Zero ? ", listings lag" : "")}";
}
