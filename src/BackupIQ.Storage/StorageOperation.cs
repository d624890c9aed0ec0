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

    /// <summary><see cref="IStorageBackend.ExtendLockAsync"/></summary>
    Lock,

    /// <summary><see cref="IStorageBackend.RecallAsync"/></summary>
    Recall,

    /// <summary>To say that it is there, before anything else.</summary>
    Connect,
}

/// <summary>How an operation is called where people and machines read of it.</summary>
public static class StorageOperationWords
{
    /// <summary>A word: <c>put</c>, <c>read</c>, <c>stat</c>, <c>list</c>, <c>delete</c>, <c>lock</c>, <c>recall</c>, <c>connect</c> or <c>space</c>.</summary>
    public static string Word(this StorageOperation operation) => operation switch
    {
        StorageOperation.Put => "put",
        StorageOperation.Read => "read",
        StorageOperation.Stat => "stat",
        StorageOperation.List => "list",
        StorageOperation.Delete => "delete",
        StorageOperation.Lock => "lock",
        StorageOperation.Recall => "recall",
        StorageOperation.Connect => "connect",
        _ => "space",
    };
}
