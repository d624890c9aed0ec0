namespace BackupIQ.Storage;

/// <summary>What a storage is asked to do.</summary>
public enum StorageOperation
{
    /// <summary><see cref="IStorageBackend.PutAsync"/></summary>
    Put,

    /// <summary><see cref="IStorageBackend.ReadAsync"/></summary>
    Read,

    /// <summary><see cref="IStorageBackend.StatAsync"/></summary>
    Stat,

    /// <summary><see cref="IStorageBackend.ListAsync"/></summary>
    List,

    /// <summary><see cref="IStorageBackend.DeleteAsync"/></summary>
    Delete,

    /// <summary><see cref="IStorageBackend.GetSpaceAsync"/></summary>
    Space,

    /// <summary>To say that it is there, before anything else.</summary>
    Connect,
}
