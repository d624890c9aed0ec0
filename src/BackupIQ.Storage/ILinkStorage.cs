namespace BackupIQ.Storage;

/// <summary>A storage that can let anybody read one object for a time, who has its address: the address carries a signature, and no rights beside that.</summary>
public interface ILinkStorage
{
    /// <summary>The longest time that a link may last; what a week does not do, rights of one's own do better.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromDays(7);

    /// <summary>The address of an object. Whether the object is there is not asked.</summary>
    /// <param name="key">The object.</param>
    /// <param name="lasts">For how long, at most <see cref="Longest"/>; in whole seconds.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="Primitives.BackupIQException"><c>Usage</c>: whoever is signed in to the storage cannot sign; or they are not known to it.</exception>
    ValueTask<StorageLink> LinkAsync(StorageKey key, TimeSpan lasts, CancellationToken cancellationToken);
}

/// <summary>An address by which anybody reads an object. It prints without its signature.</summary>
/// <param name="address">The whole address, which is a secret as long as it lasts.</param>
/// <param name="until">When it ends.</param>
public sealed class StorageLink(string address, DateTimeOffset until)
{
    /// <summary>The whole address, which is a secret as long as it lasts.</summary>
    public string Address { get; } = address;

    /// <summary>When it ends.</summary>
    public DateTimeOffset Until { get; } = until;

    /// <inheritdoc/>
    public override string ToString() => Address.Split('?')[0] + "?***";
}
