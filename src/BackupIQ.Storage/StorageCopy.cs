namespace BackupIQ.Storage;

/// <summary>Another storage that holds the same objects as one, to read from (<see cref="IStorageBackend.CopiesAsync"/>). It stays the owner's.</summary>
/// <param name="Name">Where it is, without secrets.</param>
/// <param name="Storage">The storage. Nothing is put there, and nothing is deleted.</param>
/// <param name="OnUsed">Called by whoever found an object whole there that is not what was put where it should be; tells it.</param>
public sealed record StorageCopy(string Name, IStorageBackend Storage, Action<StorageKey> OnUsed);
