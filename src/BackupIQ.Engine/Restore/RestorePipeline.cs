using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Brings windows of planned entries to the target: compares what is there, fetches what is missing in the order of the packs, verifies
/// each chunk, writes it where it belongs, and finishes each file when its last chunk is written. Every worker does all of this for the
/// frames that it takes, so that bytes stay in one core's cache from the storage to the file.
/// </summary>
/// <remarks>
/// A file of which a chunk is missing or damaged is told and is not there afterwards; where a file was there before and is being changed in
/// place, it stays, partly old and partly new, and that is told.
/// </remarks>
internal sealed class RestorePipeline : IDisposable
{
    /// <summary>With <see cref="RestoreOptions.Sparse"/>, zeros become a hole from this length on: the usual block of file systems.</summary>
    public const int SparseBlock = 4096;

    /// <summary>
    /// Workers beside those that the cores can do with, where the storage is over a line. Two: with those of two cores 16 MiB are asked for at once, which keeps
    /// 100 MB/s at 160 ms busy; more were no quicker, and each takes 8 MiB.
    /// </summary>
    private const int WaitingWorkers = 2;

    /// <summary>Entries without chunks that a worker takes at a time.</summary>
    private const int DirectBatch = 32;

    private readonly BackupRepository _repository;
    private readonly SnapshotMetadata _metadata;
    private readonly IRestoreTarget _target;
    private readonly RestoreOptions _options;
    private readonly RestoreProgress _progress;
    private readonly DirectoryFinisher _finisher;
    private readonly TargetCleaner _cleaner;
    private readonly OpenTargetFiles _files;
    private readonly CancellationTokenSource _stop;
    private readonly RestoreWorker[] _workers;
    private List<PlannedLink> _waiting = [];

    public RestorePipeline(
        BackupRepository repository, SnapshotMetadata metadata, IRestoreTarget target, RestoreOptions options, RestoreProgress progress,
        DirectoryFinisher finisher, CancellationTokenSource stop)
    {
        _repository = repository;
        _metadata = metadata;
        _target = target;
        _options = options;
        _progress = progress;
        _finisher = finisher;
        _stop = stop;
        _cleaner = new TargetCleaner(target, options, progress);
        _files = new OpenTargetFiles(target, reserve: !options.Sparse);

        // Over a line some wait for answers while others work.
        int unasked = repository.IsLocal ? Environment.ProcessorCount : Environment.ProcessorCount + WaitingWorkers;
        int wanted = options.Concurrency > 0 ? options.Concurrency : unasked;
        int affordable = (int)Math.Max(1, options.MemoryBudget / 4 / RestoreWorker.Cost);
        _workers = new RestoreWorker[Math.Clamp(wanted, 1, Math.Min(affordable, 64))];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = new RestoreWorker(repository.Keys);
        }
    }

    /// <summary>Does all that a window asks for.</summary>
    public async Task RunAsync(RestoreWindow window)
    {
        await ForEachAsync(window.Compare.Count, (worker, i) =>
        {
            Compare(worker, window, window.Compare[i]);
            return ValueTask.CompletedTask;
        });
        foreach (PlannedFile file in window.Completed)
        {
            ChunkDone(file);
        }

        if (_options.DryRun)
        {
            PretendWrites(window);
        }
        else
        {
            window.PlanReads(RestoreWorker.MaxRead, _repository.IsLocal);
            int batches = (window.Direct.Count + DirectBatch - 1) / DirectBatch;
            await ForEachAsync(batches + window.Reads.Count, (worker, i) => i < batches
                ? WriteDirect(window, i * DirectBatch)
                : FetchAsync(worker, window, window.Reads[i - batches]));
        }

        MakeLinks(window.Links);
        if (_options.Verify && !_options.DryRun)
        {
            await ForEachAsync(window.Files.Count, (worker, i) =>
            {
                Verify(worker, window, window.Files[i]);
                return ValueTask.CompletedTask;
            });
        }
    }

    /// <summary>After the last window: links whose file was not whole yet.</summary>
    public void Finish() => MakeLinks([]);

    /// <summary>The run ends early: files that are not whole are removed.</summary>
    public void Abandon() => _files.Abandon();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (RestoreWorker worker in _workers)
        {
            worker.Dispose();
        }
    }

    private async Task ForEachAsync(int count, Func<RestoreWorker, int, ValueTask> work)
    {
        if (count == 0)
        {
            return;
        }

        int next = -1;
        await Task.WhenAll(_workers.Take(count).Select(worker => Task.Run(async () =>
        {
            try
            {
                for (int i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
                {
                    _stop.Token.ThrowIfCancellationRequested();
                    await work(worker, i);
                }
            }
            catch
            {
                await _stop.CancelAsync();
                throw;
            }
        }, _stop.Token)));
    }

    private async ValueTask FetchAsync(RestoreWorker worker, RestoreWindow window, ReadGroup group)
    {
        PackId pack = window.FrameAt(group.First).Reference.Pack;
        BackupIQException? damage = null;
        int read = 0;
        try
        {
            read = await _repository.ReadPackAsync(PackKind.Data, pack, group.Offset, worker.Stored.AsMemory(0, group.Length), _stop.Token);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            damage = new CorruptDataException($"pack {pack} is missing or cannot be read", e);
        }

        for (int i = 0; i < group.Count; i++)
        {
            Open(worker, window, group, group.First + i, read, damage);
        }
    }

    private void Open(RestoreWorker worker, RestoreWindow window, ReadGroup group, int place, int read, BackupIQException? damage)
    {
        ref PlannedFrame frame = ref window.FrameAt(place);
        long start = frame.Reference.Offset - group.Offset;
        Span<byte> plain = default;
        if (damage is null && frame.Reference.PlainLength > RestoreWorker.MaxFrame)
        {
            damage = new CorruptDataException($"pack {frame.Reference.Pack} is damaged: it has a frame that is longer than any");
        }
        else if (damage is null)
        {
            plain = worker.Plain((int)frame.Reference.PlainLength);
            damage = OpenHere(worker, frame.Reference, start, read, plain);
            damage = damage is null || OpenElsewhere(worker, frame.Reference, plain) ? null : damage;
        }

        Span<PlannedChunk> chunks = window.Chunks;
        int verified = -1;
        for (int i = frame.FirstChunk; i >= 0; i = chunks[i].Next)
        {
            ref PlannedChunk chunk = ref chunks[i];
            PlannedFile file = window.Files[chunk.File].File;
            string? wrong = null;
            if (damage is null && chunk.FrameOffset + (ulong)chunk.Length > (ulong)plain.Length)
            {
                wrong = $"pack {frame.Reference.Pack} is damaged: chunk {chunk.Id} lies outside its frame";
            }
            else if (damage is null)
            {
                ReadOnlySpan<byte> bytes = plain.Slice((int)chunk.FrameOffset, (int)chunk.Length);
                bool isSame = verified >= 0 && chunks[verified].FrameOffset == chunk.FrameOffset && chunks[verified].Id == chunk.Id;
                if (isSame || worker.Opener.IsChunk(PackKind.Data, chunk.Id, bytes))
                {
                    verified = i;
                    Write(file, chunk, bytes);
                    continue;
                }

                wrong = $"pack {frame.Reference.Pack} is damaged: chunk {chunk.Id} has other bytes";
            }

            if (!file.HasFailed && _metadata.TryReadElsewhere(chunk.Id, chunk.Length, frame.Reference, out ReadOnlyMemory<byte> other))
            {
                _progress.Spare($"pack {frame.Reference.Pack} is damaged; what was needed of it was found in another", () => file.Path);
                Write(file, chunk, other.Span);
                continue;
            }

            Fail(file, damage?.Code ?? ErrorCodes.CorruptData, wrong ?? damage!.Message);
            ChunkDone(file);
        }
    }

    private static BackupIQException? OpenHere(RestoreWorker worker, in FrameReference frame, long start, int read, Span<byte> plain)
    {
        if (start + frame.StoredLength > read)
        {
            return new CorruptDataException($"pack {frame.Pack} is damaged: it is cut short");
        }

        try
        {
            worker.Opener.Open(frame, worker.Stored.AsSpan((int)start, (int)frame.StoredLength), plain);
            return null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return e;
        }
    }

    // Damage is seldom: room of its own, for other frames of the group still lie in the worker's.
    private bool OpenElsewhere(RestoreWorker worker, in FrameReference frame, Span<byte> plain)
    {
        using NativeBuffer stored = new(), opened = new();
        Memory<byte> found = opened.Room(plain.Length);
        bool isFound = _repository.TryReadFrameElsewhereAsync(frame, worker.Opener, stored.Room((int)frame.StoredLength), found, _stop.Token).AsTask().GetAwaiter().GetResult();
        if (isFound)
        {
            found.Span.CopyTo(plain);
        }

        return isFound;
    }

    // Writes what is needed of a verified chunk; with the last one the file is done.
    private void Write(PlannedFile file, in PlannedChunk chunk, ReadOnlySpan<byte> all)
    {
        ReadOnlySpan<byte> bytes = all.Slice((int)chunk.PartOffset, (int)chunk.PartLength);
        if (file.PageSize > 0)
        {
            file.AddPages(PageDigest.Of(_repository.Keys.DataIdKey, PlaceOf(file, chunk), bytes, file.PageSize));
        }

        if (file.IsWholeInOne)
        {
            WriteWhole(file, bytes);
            return;
        }

        if (!file.HasFailed)
        {
            try
            {
                ITargetFile handle = _files.Rent(file);
                try
                {
                    if (_options.Sparse)
                    {
                        WriteSparse(handle, bytes, chunk.FileOffset, mayHaveData: file.Placement == Placement.Update);
                    }
                    else
                    {
                        handle.Write(bytes, chunk.FileOffset);
                    }
                }
                finally
                {
                    _files.Return(file);
                }

                _progress.Wrote(bytes.Length);
            }
            catch (RestoreItemException e) when (!e.EndsRun)
            {
                Fail(file, e.Code, e.Message);
            }
        }

        ChunkDone(file);
    }

    private void WriteWhole(PlannedFile file, ReadOnlySpan<byte> bytes)
    {
        try
        {
            MetadataLoss loss = _target.WriteFile(file.Directory.Target!, file.Metadata, bytes);
            _progress.Wrote(bytes.Length);
            Succeed(file, RestoreAction.Restored, loss);
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            Fail(file, e.Code, e.Message);
        }

        _finisher.Done(file.Directory);
    }

    private static void WriteSparse(ITargetFile handle, ReadOnlySpan<byte> bytes, long offset, bool mayHaveData)
    {
        int start = 0;
        while (start < bytes.Length)
        {
            // Blocks are those of the file, so that holes fall on whole blocks wherever chunks begin.
            int end = start;
            bool isZero = IsZeroBlock(bytes, offset, ref end);
            int runStart = start;
            while (end < bytes.Length)
            {
                int next = end;
                if (IsZeroBlock(bytes, offset, ref next) != isZero)
                {
                    break;
                }

                end = next;
            }

            if (!isZero)
            {
                handle.Write(bytes[runStart..end], offset + runStart);
            }
            else if (mayHaveData)
            {
                handle.Clear(offset + runStart, end - runStart);
            }

            start = end;
        }
    }

    private static bool IsZeroBlock(ReadOnlySpan<byte> bytes, long offset, ref int at)
    {
        int length = Math.Min(SparseBlock - (int)((offset + at) % SparseBlock), bytes.Length - at);
        bool isZero = !bytes.Slice(at, length).ContainsAnyExcept((byte)0);
        at += length;
        return isZero;
    }

    private ValueTask WriteDirect(RestoreWindow window, int from)
    {
        for (int i = from; i < Math.Min(from + DirectBatch, window.Direct.Count); i++)
        {
            PlannedFile file = window.Files[window.Direct[i]].File;
            try
            {
                WriteDirect(file);
            }
            catch (RestoreItemException e) when (!e.EndsRun)
            {
                Fail(file, e.Code, e.Message);
                _finisher.Done(file.Directory);
            }
        }

        return ValueTask.CompletedTask;
    }

    // An entry without chunks: content in the node, no content, all one hole, or only metadata to be set.
    private void WriteDirect(PlannedFile file)
    {
        NodeMetadata metadata = file.Metadata;
        TargetDirectory directory = file.Directory.Target!;
        RestoreAction action = RestoreAction.Restored;
        MetadataLoss loss;
        if (file.Placement == Placement.Keep || (file.Placement == Placement.Update && IsRight(file)))
        {
            action = RestoreAction.Unchanged;
            _progress.Spared(RestorePlanner.DataIn(metadata, file.Extents));
            loss = _target.SetMetadata(directory, metadata, file.Existing);
        }
        else
        {
            if (file.Placement != Placement.New)
            {
                action = RestoreAction.Updated;
                RestorePlanner.RemoveConflict(
                    _target, _cleaner, _options, file.Directory, metadata.Name, file.Existing.Type == NodeType.Directory);
                file.Placement = Placement.New;
            }

            if (metadata.Type != NodeType.File)
            {
                loss = _target.CreateSpecial(directory, metadata);
            }
            else if (file.IsWholeInOne)
            {
                loss = _target.WriteFile(directory, metadata, file.Inline.Span);
                _progress.Wrote(file.Inline.Length);
            }
            else
            {
                Complete(file);
                return;
            }
        }

        Succeed(file, action, loss);
        _finisher.Done(file.Directory);
    }

    // Whether the link, device or small file that is there is what the snapshot has.
    private bool IsRight(PlannedFile file)
    {
        NodeMetadata metadata = file.Metadata;
        TargetEntry existing = file.Existing;
        switch (metadata.Type)
        {
            case NodeType.SymbolicLink:
                return _target.ReadLink(file.Directory.Target!, metadata.Name).AsSpan().SequenceEqual(metadata.LinkTarget);
            case NodeType.BlockDevice or NodeType.CharacterDevice:
                return existing.DeviceMajor == metadata.DeviceMajor && existing.DeviceMinor == metadata.DeviceMinor;
            case NodeType.File:
                if (existing.Size != metadata.Size || !MayChangeMetadata(file))
                {
                    return false;
                }

                Span<byte> content = new byte[file.Inline.Length];
                try
                {
                    using ITargetFile handle = _target.OpenFile(file.Directory.Target!, metadata.Name, existing.Identity, write: false);
                    return handle.Read(content, 0) == content.Length && content.SequenceEqual(file.Inline.Span);
                }
                catch (RestoreItemException e) when (!e.EndsRun)
                {
                    // What cannot be read is made anew.
                    return false;
                }

            default:
                return true;
        }
    }

    // A file with other names outside the restore must not be changed through this one.
    private static bool MayChangeMetadata(PlannedFile file)
    {
        TargetEntry existing = file.Existing;
        NodeMetadata metadata = file.Metadata;
        return existing.LinkCount <= 1 || file.Group is not null ||
            (existing.Mode == metadata.Mode && existing.UserId == metadata.UserId && existing.GroupId == metadata.GroupId &&
             existing.Modified == metadata.Modified);
    }

    // Finds which chunks a file has already, and whether it can be changed in place at all.
    private void Compare(RestoreWorker worker, RestoreWindow window, int index)
    {
        WindowFile part = window.Files[index];
        PlannedFile file = part.File;
        if (file.HasFailed || file.Placement != Placement.Update)
        {
            return;
        }

        Span<PlannedChunk> chunks = window.Chunks.Slice(part.FirstChunk, part.ChunkCount);
        try
        {
            if (!TryMatch(worker, window, file, chunks))
            {
                foreach (ref PlannedChunk chunk in chunks)
                {
                    chunk.IsRight = false;
                }

                if (!_options.DryRun)
                {
                    _target.Remove(file.Directory.Target!, file.Metadata.Name, isDirectory: false);
                    file.Placement = Placement.New;
                }

                file.IsDifferent = true;
            }
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            Fail(file, e.Code, e.Message);
        }

        if (part.ChunkCount == 0 && !file.IsSplit)
        {
            Complete(file);
            return;
        }

        foreach (ref PlannedChunk chunk in chunks)
        {
            if (chunk.IsRight)
            {
                _progress.Spared(chunk.PartLength);
                ChunkDone(file);
            }
        }
    }

    // False: the file is to be made anew.
    private bool TryMatch(RestoreWorker worker, RestoreWindow window, PlannedFile file, Span<PlannedChunk> chunks)
    {
        bool mayWrite = file.Existing.LinkCount <= 1;
        if (!mayWrite && file.IsSplit)
        {
            return false;
        }

        using ITargetFile? handle = TryOpen(file, ref mayWrite);
        if (handle is null)
        {
            return false;
        }

        bool isSame = file.Existing.Size == file.Metadata.Size;
        PageDigest pages = default;
        foreach (ref PlannedChunk chunk in chunks)
        {
            chunk.IsRight = IsThere(worker, window, handle, chunk, (long)file.Existing.Size, ref pages);
            isSame &= chunk.IsRight;
        }

        file.NeedsClearing |= file.Extents is not null && AnyHoleHasData(handle, file);
        isSame &= !file.NeedsClearing;
        file.IsDifferent |= !isSame;
        bool isKept = mayWrite || (isSame && !file.IsSplit && MayChangeMetadata(file));
        if (isKept)
        {
            file.AddPages(pages);
        }

        return isKept;
    }

    private ITargetFile? TryOpen(PlannedFile file, ref bool mayWrite)
    {
        foreach (bool write in (ReadOnlySpan<bool>)(mayWrite && !_options.DryRun ? [true, false] : [false]))
        {
            try
            {
                ITargetFile handle = _target.OpenFile(file.Directory.Target!, file.Metadata.Name, file.Existing.Identity, write);
                mayWrite &= write || _options.DryRun;
                return handle;
            }
            catch (RestoreItemException e) when (!e.EndsRun && e.Code == ErrorCodes.Restore)
            {
                // Not writable, or a program that runs: it can be read at most, and replaced.
            }
        }

        return null;
    }

    // Pages that are there are told by their sums, and added to those that came: all together are proved when the file is complete.
    private bool IsThere(RestoreWorker worker, RestoreWindow window, ITargetFile handle, in PlannedChunk chunk, long size, ref PageDigest pages)
    {
        if (chunk.FileOffset + chunk.PartLength > size || chunk.PartLength > RestoreWorker.MaxFrame)
        {
            return false;
        }

        Span<byte> bytes = worker.Plain((int)chunk.PartLength);
        if (handle.Read(bytes, chunk.FileOffset) != bytes.Length)
        {
            return false;
        }

        PlannedFile file = window.Files[chunk.File].File;
        return file.PageSize > 0
            ? ArePages(bytes, file.PageSize, PlaceOf(file, chunk), window.SumsOf(chunk, (bytes.Length + file.PageSize - 1) / file.PageSize), ref pages)
            : worker.Opener.IsChunk(PackKind.Data, chunk.Id, bytes);
    }

    private bool ArePages(ReadOnlySpan<byte> bytes, int pageSize, int place, ReadOnlySpan<ulong> sums, ref PageDigest pages)
    {
        ReadOnlySpan<byte> key = _repository.Keys.DataIdKey;
        PageDigest met = pages;
        for (int i = 0; i < sums.Length; i++)
        {
            ChunkId page = PageDigest.IdOf(key, bytes.Slice(i * pageSize, Math.Min(pageSize, bytes.Length - (i * pageSize))));
            if (PageDigest.SumOf(page) != sums[i])
            {
                return false;
            }

            met ^= PageDigest.Of(key, place + i, page);
        }

        pages = met;
        return true;
    }

    // The place in its block of the first page of what is needed of a chunk.
    private static int PlaceOf(PlannedFile file, in PlannedChunk chunk) => (int)(chunk.FileOffset / file.PageSize % PageBlock.MaxPages);

    private static bool AnyHoleHasData(ITargetFile handle, PlannedFile file)
    {
        foreach ((long offset, long length) in HolesOf(file))
        {
            if (handle.HasData(offset, length))
            {
                return true;
            }
        }

        return false;
    }

    // The holes that lie within what the file was before: what is added to it is a hole anyway.
    private static IEnumerable<(long Offset, long Length)> HolesOf(PlannedFile file)
    {
        long end = (long)Math.Min(file.Existing.Size, file.Metadata.Size);
        long at = 0;
        foreach (Extent extent in file.Extents ?? [])
        {
            long hole = Math.Min((long)extent.Offset, end) - at;
            if (hole > 0)
            {
                yield return (at, hole);
            }

            at = (long)(extent.Offset + extent.Length);
        }

        if (at < end)
        {
            yield return (at, end - at);
        }
    }

    private void ChunkDone(PlannedFile file)
    {
        if (file.ChunkDone())
        {
            Complete(file);
        }
    }

    // All chunks of the file are written, were right, or never come.
    private void Complete(PlannedFile file)
    {
        if (file.IsWholeInOne && file.HasFailed)
        {
            _finisher.Done(file.Directory);
            return;
        }

        try
        {
            if (!file.HasFailed && file.HasWrongPages)
            {
                Fail(file, ErrorCodes.CorruptData, "its pages are not those that were backed up: one of them changed and was taken for the one before; an older snapshot may have it right");
            }

            if (!file.HasFailed)
            {
                if (_options.DryRun)
                {
                    Succeed(file, file.IsDifferent || file.Placement != Placement.Update ? RestoreAction.Updated : RestoreAction.Unchanged, default);
                }
                else if (file.Placement == Placement.Update && !file.IsDifferent)
                {
                    Succeed(file, RestoreAction.Unchanged, _target.SetMetadata(file.Directory.Target!, file.Metadata, file.Existing));
                }
                else
                {
                    RestoreAction action = file.Placement == Placement.Update ? RestoreAction.Updated : RestoreAction.Restored;
                    Succeed(file, action, CompleteContent(file));
                }
            }
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            Fail(file, e.Code, e.Message);
        }

        try
        {
            _files.Finish(file, remove: file.HasFailed);
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            _progress.Fail(e.Code, file.Path, $"it is not whole, and removing it failed: {e.Message}", isEntry: false);
        }

        _finisher.Done(file.Directory);
    }

    private MetadataLoss CompleteContent(PlannedFile file)
    {
        ITargetFile handle = _files.Rent(file);
        try
        {
            if (file.NeedsClearing)
            {
                foreach ((long offset, long length) in HolesOf(file))
                {
                    handle.Clear(offset, length);
                }
            }

            return handle.SetMetadata(file.Metadata);
        }
        finally
        {
            _files.Return(file);
        }
    }

    private void Succeed(PlannedFile file, RestoreAction action, MetadataLoss loss)
    {
        file.IsFinished = (loss & MetadataLoss.Device) == 0;
        if (file.Group is { } group)
        {
            group.IsReady = file.IsFinished;
            group.Failure = file.IsFinished ? null : ErrorCodes.Restore;
        }

        if (loss != MetadataLoss.None)
        {
            _progress.Lose(loss, () => file.Path);
        }

        _progress.Count(file.IsFinished ? action : RestoreAction.Skipped);
        if (_progress.WantsItems)
        {
            _progress.Tell(action, file.Path, (long)file.Metadata.Size);
        }

        // Now and then is enough for those who look.
        if (_progress.CurrentPath is null || (_progress.FilesRestored & 0xFF) == 0)
        {
            _progress.CurrentPath = file.Path;
        }
    }

    private void Fail(PlannedFile file, ErrorCode code, string message)
    {
        lock (file)
        {
            if (file.HasFailed)
            {
                return;
            }

            file.HasFailed = true;
        }

        if (file.Group is { } group)
        {
            group.Failure = code;
        }

        bool isHalfChanged = file.Placement == Placement.Update && file.Identity is not null;
        _progress.Fail(code, file.Path, isHalfChanged ? message + "; the file was there before and is now partly changed" : message);
    }

    private void MakeLinks(List<PlannedLink> links)
    {
        List<PlannedLink> waiting = [];
        foreach (List<PlannedLink> list in (List<PlannedLink>[])[_waiting, links])
        {
            foreach (PlannedLink link in list)
            {
                _stop.Token.ThrowIfCancellationRequested();
                if (!link.Group.IsReady && link.Group.Failure is null)
                {
                    waiting.Add(link);
                    continue;
                }

                MakeLink(link);
                _finisher.Done(link.Directory);
            }
        }

        _waiting = waiting;
    }

    private void MakeLink(PlannedLink link)
    {
        byte[] name = link.Metadata.Name;
        if (link.Group.Failure is { } failure)
        {
            _progress.Fail(failure, link.Directory.Path(name), "it is another name of a file that could not be restored");
            return;
        }

        try
        {
            RestoreAction action = RestoreAction.Restored;
            if (!link.Directory.IsEmpty && _target.TryStat(link.Directory.Target!, name, out TargetEntry existing))
            {
                action = RestoreAction.Updated;
                if (RestorePlanner.IsLeft(_options.Overwrite, link.Metadata, existing))
                {
                    action = RestoreAction.Skipped;
                }
                else if (!link.Group.Directory.IsEmpty && _target.TryStat(link.Group.Directory.Target!, link.Group.Name, out TargetEntry first) &&
                    first.Identity == existing.Identity)
                {
                    action = RestoreAction.Unchanged;
                }
                else if (!_options.DryRun)
                {
                    RestorePlanner.RemoveConflict(
                        _target, _cleaner, _options, link.Directory, name, existing.Type == NodeType.Directory);
                }
            }

            if (!_options.DryRun && action is RestoreAction.Restored or RestoreAction.Updated)
            {
                _target.Link(link.Directory.Target!, name, link.Group.Directory.Target!, link.Group.Name);
            }

            _progress.Count(action);
            if (_progress.WantsItems)
            {
                _progress.Tell(action, link.Directory.Path(name), 0);
            }
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            _progress.Fail(e.Code, link.Directory.Path(name), e.Message);
        }
    }

    private void PretendWrites(RestoreWindow window)
    {
        foreach (PlannedChunk chunk in window.Chunks)
        {
            if (!chunk.IsRight)
            {
                _options.OnPack?.Invoke(window.PackOf(chunk));
                PlannedFile file = window.Files[chunk.File].File;
                if (!file.ChunkDone())
                {
                    continue;
                }

                Pretend(file);
            }
        }

        foreach (int index in window.Direct)
        {
            Pretend(window.Files[index].File);
        }
    }

    private void Pretend(PlannedFile file)
    {
        bool isRight = file.Placement == Placement.Keep || (file.Placement == Placement.Update && file.IsWholeInOne && IsRight(file));
        Succeed(file, isRight ? RestoreAction.Unchanged : file.Placement == Placement.New ? RestoreAction.Restored : RestoreAction.Updated, default);
        _finisher.Done(file.Directory);
    }

    private void Verify(RestoreWorker worker, RestoreWindow window, WindowFile part)
    {
        PlannedFile file = part.File;
        if (file.Metadata.Type != NodeType.File || file.HasFailed || file.Placement == Placement.Keep || !(file.IsFinished || file.IsSplit))
        {
            return;
        }

        string? fault = null;
        try
        {
            if (!_target.TryStat(file.Directory.Target!, file.Metadata.Name, out TargetEntry entry))
            {
                fault = "it was restored, but is not there any more";
            }
            else
            {
                using ITargetFile handle = _target.OpenFile(file.Directory.Target!, file.Metadata.Name, entry.Identity, write: false);
                bool isRight = entry.Size == file.Metadata.Size;
                PageDigest pages = default;
                foreach (PlannedChunk chunk in window.Chunks.Slice(part.FirstChunk, part.ChunkCount))
                {
                    isRight = isRight && IsThere(worker, window, handle, chunk, (long)entry.Size, ref pages);
                }

                if (!file.Inline.IsEmpty)
                {
                    Span<byte> content = worker.Plain(file.Inline.Length);
                    isRight = isRight && handle.Read(content, 0) == content.Length && content.SequenceEqual(file.Inline.Span);
                }

                fault = isRight ? null : "read back, it is not what was written: the target's disk or memory fails, or another process changes it";
            }
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            fault = $"it could not be read back: {e.Message}";
        }

        if (fault is not null)
        {
            _progress.Fail(ErrorCodes.Restore, file.Path, fault, isEntry: false);
        }
        else if (file.IsFinished)
        {
            _progress.Verified();
        }
    }
}
