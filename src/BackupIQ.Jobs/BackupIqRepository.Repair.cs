using BackupIQ.Engine.Repair;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <content>Repair.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Reads every pack and mends what is damaged to the bytes that it had, by parity or by what else the repository knows. With
    /// <paramref name="isTrial"/> nothing is changed.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, refuses, or is full.</exception>
    public async Task<RepairReport> RepairPacksAsync(bool isTrial, CheckMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        RepairRunner runner = new(_repository, _time);
        RepairOptions options = new() { IsTrial = isTrial, Concurrency = _options.Jobs };
        return RepairReport.From(await runner.RepairPacksAsync(options, (monitor ?? new CheckMonitor()).Progress, cancellationToken).ConfigureAwait(false), isTrial);
    }
}
