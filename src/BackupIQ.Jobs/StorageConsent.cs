namespace BackupIQ.Jobs;

/// <summary>What a person has to do to let this machine use their storage.</summary>
/// <param name="Address">Where, in a browser on any machine.</param>
/// <param name="Code">What they type there.</param>
/// <param name="Until">When it is too late.</param>
public sealed record StorageConsent(string Address, string Code, DateTimeOffset Until);
