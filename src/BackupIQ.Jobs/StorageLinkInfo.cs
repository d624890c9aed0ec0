using BackupIQ.Storage;

namespace BackupIQ.Jobs;

/// <summary>An address by which anybody reads an object for a time. It prints without its signature.</summary>
public sealed class StorageLinkInfo
{
    private readonly StorageLink _link;

    internal StorageLinkInfo(StorageLink link, long size)
    {
        _link = link;
        Size = size;
    }

    /// <summary>The whole address, which is a secret as long as it lasts.</summary>
    public string Address => _link.Address;

    /// <summary>When it ends.</summary>
    public DateTimeOffset Until => _link.Until;

    /// <summary>Bytes of the object.</summary>
    public long Size { get; }

    /// <inheritdoc/>
    public override string ToString() => _link.ToString();
}
