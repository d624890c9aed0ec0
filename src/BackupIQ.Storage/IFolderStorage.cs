namespace BackupIQ.Storage;

/// <summary>A storage whose prefixes are folders: they stay when the last object in them is deleted.</summary>
public interface IFolderStorage
{
    /// <summary>Removes a folder with all that is in it, for who made it and knows that nobody else uses it. That it is not there is success.</summary>
    /// <param name="prefix">Its prefix, as for a listing; not the whole storage.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="StorageException">It could not be removed.</exception>
    ValueTask RemoveFolderAsync(string prefix, CancellationToken cancellationToken);
}
