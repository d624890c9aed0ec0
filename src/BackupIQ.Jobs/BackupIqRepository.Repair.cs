using BackupIQ.Engine.Repair;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <content>Repair.</content>
public sealed partial class BackupIqRepository
{
    private RepairRunner Repairer => new(_repository, _time);

    /// <summary>
    /// Reads every pack and mends what is damaged to the bytes that it had, by parity or by what else the repository knows. Of what cannot be
    /// mended the rest is moved into new packs, and the next backup stores again what it can. With <paramref name="isTrial"/> nothing is changed.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, refuses, or is full.</exception>
    public async Task<RepairReport> RepairPacksAsync(bool isTrial, CheckMonitor? monitor = null, CancellationToken cancellationToken = default) =>
        RepairReport.From(await Repairer.RepairPacksAsync(RepairOptions(isTrial), (monitor ?? new CheckMonitor()).Progress, cancellationToken).ConfigureAwait(false), isTrial);

    /// <summary>Makes the index whole again from the packs. With <paramref name="isTrial"/> nothing is changed.</summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: a prune is at work; or the storage cannot be reached, refuses, or is full.</exception>
    public async Task<RepairReport> RepairIndexAsync(bool isTrial, CheckMonitor? monitor = null, CancellationToken cancellationToken = default) =>
        RepairReport.From(await Repairer.RepairIndexAsync(RepairOptions(isTrial), (monitor ?? new CheckMonitor()).Progress, cancellationToken).ConfigureAwait(false), isTrial);

    /// <summary>
    /// Puts beside each snapshot that has lost files another one without them, which names them. With <paramref name="isTrial"/> nothing is changed.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, refuses, or is full; <c>SessionFenced</c>: run again.</exception>
    public async Task<RepairReport> RepairSnapshotsAsync(bool isTrial, CheckMonitor? monitor = null, CancellationToken cancellationToken = default) =>
        RepairReport.From(await Repairer.RepairSnapshotsAsync(RepairOptions(isTrial), (monitor ?? new CheckMonitor()).Progress, cancellationToken).ConfigureAwait(false), isTrial);

    private RepairOptions RepairOptions(bool isTrial) => new()
    {
        IsTrial = isTrial,
        Concurrency = _options.Jobs,
        Hostname = Environment.MachineName,
        Username = Environment.UserName,
        ProgramVersion = "backupiq " + Version,
        CacheFolder = _options.CacheFolder,
    };
}
