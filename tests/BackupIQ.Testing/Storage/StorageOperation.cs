namespace BackupIQ.Testing.Storage;

/// <summary>The calls of a storage.</summary>
public enum StorageOperation
{
    Put,
    Read,
    Stat,
    List,
    Delete,
    Space,
}
