using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>
/// Receives a server's log by a replication slot and archives it: whole segments as <c>wal-push</c> does, and the beginning of the one that is not finished in pieces.
/// The server is told of what is durable and of nothing else, so that it keeps the rest. While the repository takes its time nothing is read, and what waits stays
/// in the server.
/// </summary>
internal sealed class WalStreamPipeline(WalArchive archive, WalStreamRequest request, WalStreamMonitor monitor, string folder, TimeProvider time)
{
    // Segments that are stored while the next one is received; each is a file until then.
    private const int AtOnce = 3;
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);

    // So long the last bytes may take to become durable when it is ended.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly string _slot = SlotOf(request);
    private long _bytes;
    private long _segments;
    private bool _isToldOfSlot;

    /// <summary>What it is given to know which part of the log anybody needs.</summary>
    public Func<CancellationToken, Task<IReadOnlyList<WalBaseInfo>>> ReadBases { get; init; } = static _ => Task.FromResult<IReadOnlyList<WalBaseInfo>>([]);

    /// <summary>
    /// Receives until it is ended by <paramref name="cancellationToken"/>: then what was received is made durable, the server told, and it returns.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>WrongServer</c>: it is another cluster, or not the one any more whose log is in the archive. <c>Authorization</c>: the role may not. What may pass by itself is
    /// tried again, unless it is asked for once.
    /// </exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using Secret? password = request.Server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
        string? plain = password is null ? null : Encoding.UTF8.GetString(password.Bytes);
        PostgresDsn dsn = PostgresDsn.Parse(request.Server.Dsn);
        TimeSpan pause = FirstPause;
        while (!cancellationToken.IsCancellationRequested)
        {
            long before = _bytes;
            try
            {
                if (await ConnectAsync(dsn, plain, cancellationToken).ConfigureAwait(false))
                {
                    return;
                }

                pause = FirstPause;
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                // Before anything was received.
                return;
            }
            catch (BackupIQException e) when (!request.Once && !cancellationToken.IsCancellationRequested && IsPassing(e))
            {
                pause = _bytes > before ? FirstPause : pause;
                monitor.OnRetry?.Invoke(e.Message, pause);
                await Task.WhenAny(Task.Delay(pause, time, cancellationToken)).ConfigureAwait(false);
                pause = TimeSpan.FromTicks(Math.Min(LongestPause.Ticks, 2 * pause.Ticks));
            }
        }
    }

    private static bool IsPassing(BackupIQException e) => e.IsTransient || e.Code.ExitCode == ErrorCodes.Storage.ExitCode || e.Code == ErrorCodes.StorageFull;

    // A slot's name is made of small letters, digits and underscores.
    private static string SlotOf(WalStreamRequest request)
    {
        const int longest = 63;
        string name = request.Slot ?? string.Concat("backupiq_", string.Concat(request.Server.Name.ToLowerInvariant().Select(static c => char.IsAsciiLetterOrDigit(c) ? c : '_')));
        name = request.Slot is null && name.Length > longest ? name[..longest] : name;
        return name.Length is > 0 and <= longest && !name.AsSpan().ContainsAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789_")
            ? name
            : throw new BackupIQException(ErrorCodes.Usage, $"'{name}' is no name of a replication slot", "Use up to 63 small letters, digits and underscores.");
    }

    // True: it is ended. False: go on, on the next timeline or behind a gap.
    private async Task<bool> ConnectAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        await using WalSender sender = await WalSender.OpenAsync(dsn, password, cancellationToken).ConfigureAwait(false);
        WalSenderIdentity server = await sender.IdentifyAsync(cancellationToken).ConfigureAwait(false);
        (uint segmentSize, Lsn keeps) = await RequireSlotAsync(dsn, password, sender, cancellationToken).ConfigureAwait(false);
        await archive.RequireAsync(server.SystemIdentifier, segmentSize, server.Major, cancellationToken).ConfigureAwait(false);
        WalListing listing = await archive.ListAllAsync(cancellationToken).ConfigureAwait(false);
        TimelineHistory history = await StoreHistoriesAsync(sender, server.Timeline, listing, cancellationToken).ConfigureAwait(false);
        HashSet<WalFileName> archived = [.. listing.Files.Where(static file => file.Name.Kind == WalFileKind.Segment).Select(static file => file.Name)];
        IReadOnlyList<WalBaseInfo> bases = await ReadBases(cancellationToken).ConfigureAwait(false);
        IEnumerable<(uint, Lsn)> anchors =
        [
            .. bases.Where(static one => Lsn.TryParse(one.StartLsn, out _)).Select(static one => ((uint)one.Timeline, Lsn.TryParse(one.StartLsn, out Lsn at) ? at : Lsn.None)),
            .. listing.Gaps.Select(static gap => (gap.Timeline, gap.To)),
        ];
        WalStreamStart start = WalStreamStart.Of(segmentSize, history, archived, anchors, keeps != Lsn.None ? keeps : server.Position);
        Lsn from = new(start.Number * segmentSize);
        if (from > server.Position)
        {
            throw new BackupIQException(
                ErrorCodes.WrongServer,
                $"The archive reaches to {from} on timeline {start.Timeline}, further than the server, which is at {server.Position}",
                "It is another copy of the cluster, or was brought back on the same timeline: give it a name of its own.");
        }

        if (keeps.Value / segmentSize > start.Number && !_isToldOfSlot)
        {
            _isToldOfSlot = true;
            monitor.OnNotice?.Invoke($"the slot {_slot} keeps the log from {keeps} on, and it is wanted from {from} on; the server is asked for it all the same");
        }

        monitor.OnStreaming?.Invoke(start.Timeline, from.ToString(), _slot);
        await CleanAsync(listing, archived, cancellationToken).ConfigureAwait(false);
        Receiving receiving = new(start, segmentSize, folder, [.. listing.Pieces.Where(piece => !archived.Contains(piece.Segment))]);
        try
        {
            sender.Start(_slot, start.Timeline, from);
            return await ReceiveAsync(sender, receiving, server.Position, cancellationToken).ConfigureAwait(false);
        }
        catch (WalRemovedException e)
        {
            if (receiving.Received.Value / segmentSize > start.Number)
            {
                // It was overtaken on the way: the next look finds from where on.
                return false;
            }

            await RecordGapAsync(dsn, password, e, start, segmentSize, keeps, history, archived, listing, cancellationToken).ConfigureAwait(false);
            return request.Once ? throw new BackupIQException(ErrorCodes.SourceServer, $"{e.Message}; that part of the log is lost, which is recorded", "Make a base backup: 'backupiq pg backup'.", e) : false;
        }
    }

    // Size of a segment; and from where on the slot keeps the log.
    private async Task<(uint SegmentSize, Lsn Keeps)> RequireSlotAsync(PostgresDsn dsn, string? password, WalSender sender, CancellationToken cancellationToken)
    {
        await using PostgresSession session = await PostgresSession.OpenAsync(dsn, password, cancellationToken).ConfigureAwait(false);
        uint segmentSize = uint.Parse(
            (string)(await session.QueryAsync("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'", cancellationToken).ConfigureAwait(false))[0][0]!, NumberStyles.None, CultureInfo.InvariantCulture);
        string ask = $"SELECT slot_type, coalesce(restart_lsn::text, ''), coalesce(wal_status, '') FROM pg_replication_slots WHERE slot_name = '{_slot}'";
        for (int attempt = 0; ; attempt++)
        {
            IReadOnlyList<object?[]> rows = await session.QueryAsync(ask, cancellationToken).ConfigureAwait(false);
            if (rows is [[string type, string keeps, string status]])
            {
                if (type != "physical")
                {
                    throw new BackupIQException(ErrorCodes.Configuration, $"The replication slot {_slot} is a {type} one", "Name another one with --slot.");
                }

                if (status != "lost")
                {
                    return (segmentSize, Lsn.TryParse(keeps, out Lsn at) ? at : Lsn.None);
                }

                // The server kept it until it was too much (max_slot_wal_keep_size); it serves nobody any more.
                monitor.OnNotice?.Invoke($"the slot {_slot} is lost: the server kept as much log for it as it may (max_slot_wal_keep_size); it is made anew");
                await sender.DropSlotAsync(_slot, cancellationToken).ConfigureAwait(false);
            }

            if (attempt > 1)
            {
                throw new BackupIQException(ErrorCodes.SourceServer, $"The replication slot {_slot} does not stay", null);
            }

            await sender.CreateSlotAsync(_slot, cancellationToken).ConfigureAwait(false);
        }
    }

    // Of every timeline up to the server's, before anything of it is stored.
    private async Task<TimelineHistory> StoreHistoriesAsync(WalSender sender, uint current, WalListing listing, CancellationToken cancellationToken)
    {
        HashSet<WalFileName> there = [.. listing.Files.Where(static file => file.Name.Kind == WalFileKind.History).Select(static file => file.Name)];
        TimelineHistory? history = null;
        for (uint timeline = current; timeline > 1; timeline--)
        {
            // Of a timeline that is no ancestor of its own a server need not have any.
            bool isOwn = timeline == current || history!.Ancestors.Any(one => one.Timeline == timeline);
            if (timeline != current && (!isOwn || there.Contains(WalFileName.OfHistory(timeline))))
            {
                continue;
            }

            byte[] content = await sender.ReadHistoryAsync(timeline, cancellationToken).ConfigureAwait(false);
            TimelineHistory read = there.Contains(WalFileName.OfHistory(timeline)) && TimelineHistory.Read(timeline, content, out _) is { } known
                ? known
                : await archive.PutHistoryAsync(timeline, content, cancellationToken).ConfigureAwait(false);
            history ??= read;
        }

        return history ?? TimelineHistory.OfFirst(current);
    }

    // What was finished while nobody was there to take its pieces away.
    private async Task CleanAsync(WalListing listing, HashSet<WalFileName> archived, CancellationToken cancellationToken) =>
        await archive.TryDeleteAsync([.. listing.Pieces.Where(piece => archived.Contains(piece.Segment))], cancellationToken).ConfigureAwait(false);

    private async Task RecordGapAsync(
        PostgresDsn dsn,
        string? password,
        WalRemovedException removed,
        WalStreamStart start,
        uint segmentSize,
        Lsn keeps,
        TimelineHistory history,
        HashSet<WalFileName> archived,
        WalListing listing,
        CancellationToken cancellationToken)
    {
        ulong? to = start.NextArchived(segmentSize, history, archived);
        if (keeps.Value / segmentSize > start.Number && !(to < keeps.Value / segmentSize))
        {
            to = keeps.Value / segmentSize;
        }

        if (to is null)
        {
            // The slot promises what the server has not got: only a new one tells what there is.
            await using WalSender other = await WalSender.OpenAsync(dsn, password, cancellationToken).ConfigureAwait(false);
            await other.DropSlotAsync(_slot, cancellationToken).ConfigureAwait(false);
            monitor.OnNotice?.Invoke($"the slot {_slot} is made anew: the server has not got what it promises");
            return;
        }

        WalFileName first = WalFileName.OfSegment(start.Timeline, start.Number, segmentSize);
        Lsn from = first.StartOf(segmentSize) + WalPiece.Reach(listing.Pieces.Where(piece => piece.Segment == first));
        Lsn until = new(to.Value * segmentSize);
        string cause = $"the server had taken it away before it was received ({removed.Message})";
        await archive.PutGapAsync(start.Timeline, from, until, cause, cancellationToken).ConfigureAwait(false);
        monitor.OnGap?.Invoke(new WalGapInfo(start.Timeline, from.ToString(), until.ToString(), time.GetUtcNow(), cause, IsFilled: false));
    }

    // True: it is ended, or has caught up where that is all. False: the timeline ended.
    private async Task<bool> ReceiveAsync(WalSender sender, Receiving now, Lsn wanted, CancellationToken cancellationToken)
    {
        // When it is ended, what was received is stored all the same, within reason.
        using CancellationTokenSource work = new(Timeout.InfiniteTimeSpan, time);
        TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = cancellationToken.Register(() =>
        {
            work.CancelAfter(Patience);
            ended.TrySetResult();
        });
        await using (now.ConfigureAwait(false))
        {
            try
            {
                return await ReceiveAsync(sender, now, wanted, ended.Task, work.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException e) when (work.IsCancellationRequested)
            {
                throw new BackupIQException(ErrorCodes.Cancelled, "Not all that was received became durable in time; the server keeps it", null, e);
            }
        }
    }

    private async Task<bool> ReceiveAsync(WalSender sender, Receiving now, Lsn wanted, Task ended, CancellationToken work)
    {
        long lastPiece = time.GetTimestamp();
        Lsn serverEnd = wanted;
        Lsn reported = Lsn.None;
        Task<WalMessage> next = sender.ReceiveAsync();
        while (true)
        {
            using (CancellationTokenSource tick = new())
            {
                await Task.WhenAny(next, ended, Task.Delay(Tick, time, tick.Token)).ConfigureAwait(false);
                await tick.CancelAsync().ConfigureAwait(false);
            }

            // When the server is gone what it sent last counts most.
            bool isGone = next.IsFaulted;
            bool isEnded = ended.IsCompleted;
            if (next.IsCompletedSuccessfully && !isEnded)
            {
                WalMessage message = await next.ConfigureAwait(false);
                serverEnd = message.ServerEnd > serverEnd ? message.ServerEnd : serverEnd;
                await AppendAsync(now, message, work).ConfigureAwait(false);
                next = sender.ReceiveAsync();
            }

            bool isThrough = request.Once && now.Received >= wanted;
            bool isOver = isEnded || isThrough || isGone || (now.Start.Until != Lsn.None && now.Received >= now.Start.Until);
            if (isOver || time.GetElapsedTime(lastPiece) >= request.PartialEvery)
            {
                await PutPieceAsync(now, work).ConfigureAwait(false);
                lastPiece = time.GetTimestamp();
            }

            await now.SettleAsync(isOver ? 0 : AtOnce, Stored).ConfigureAwait(false);
            if (isGone && !isEnded)
            {
                await next.ConfigureAwait(false);
            }

            if (now.Durable != reported && !isGone)
            {
                reported = now.Durable;
                await sender.ReportAsync(reported, work).ConfigureAwait(false);
            }

            now.Tell(time, () => monitor.OnStatus?.Invoke(new WalStreamStatus(
                now.Start.Timeline, now.Received.ToString(), now.Durable.ToString(), serverEnd.ToString(),
                Math.Max(0, (long)(serverEnd.Value - now.Durable.Value)), now.OldestOpen is { } since ? time.GetElapsedTime(since) : null, _bytes, _segments)));
            if (isOver)
            {
                return isEnded || isThrough;
            }
        }
    }

    private void Stored(string? notice)
    {
        _segments++;
        if (notice is not null)
        {
            monitor.OnNotice?.Invoke(notice);
        }
    }

    private async Task AppendAsync(Receiving now, WalMessage message, CancellationToken cancellationToken)
    {
        if (message.Start != now.Received)
        {
            throw new BackupIQException(ErrorCodes.SourceServer, $"The server sent its log from {message.Start} on, and {now.Received} was next");
        }

        ReadOnlyMemory<byte> bytes = message.Bytes;
        _bytes += bytes.Length;
        while (bytes.Length > 0)
        {
            int taken = now.Append(bytes, time.GetTimestamp());
            bytes = bytes[taken..];
            if (now.IsWhole)
            {
                // No more of them wait than that; meanwhile nothing is read.
                await now.SettleAsync(AtOnce - 1, Stored).ConfigureAwait(false);
                now.Store(path => PushAsync(path, now.TakePieces(), cancellationToken));
            }
            else if (now.IsAtBoundary)
            {
                await PutPieceAsync(now, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task<string?> PushAsync(string path, IReadOnlyList<WalPiece> pieces, CancellationToken cancellationToken)
    {
        await Task.Yield();
        string? notice = await archive.PushAsync(path, isServersOwn: false, cancellationToken).ConfigureAwait(false);
        File.Delete(path);
        await archive.TryDeleteAsync(pieces, cancellationToken).ConfigureAwait(false);
        return notice;
    }

    // What is new of the unfinished segment; when there are many pieces one that holds them all.
    private async Task PutPieceAsync(Receiving now, CancellationToken cancellationToken)
    {
        if (now.NextPiece() is not { } next)
        {
            return;
        }

        IReadOnlyList<WalPiece> held = next.Holds;
        WalPiece piece = await archive.PutPieceAsync(now.Path, now.Segment, next.From, next.To, cancellationToken).ConfigureAwait(false);
        now.Keep(piece, held.Count > 0 && !await archive.TryDeleteAsync(held, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>The segment that is received, and those before it that are being stored.</summary>
    private sealed class Receiving : IAsyncDisposable
    {
        // So many pieces of a segment are made one.
        private const int MostPieces = 64;

        private readonly uint _segmentSize;
        private readonly string _folder;
        private readonly Queue<(Task<string?> Task, Lsn End)> _storing = [];
        private List<WalPiece> _pieces;
        private List<WalPiece> _later;
        private ulong _number;
        private FileStream _file;
        private uint _length;
        private uint _kept;
        private bool _mayNotMerge;
        private Lsn _storedTo;
        private long _told;

        public Receiving(WalStreamStart start, uint segmentSize, string folder, List<WalPiece> pieces)
        {
            Start = start;
            _segmentSize = segmentSize;
            _folder = folder;
            _later = pieces;
            _number = start.Number;
            _storedTo = new Lsn(_number * segmentSize);
            (_file, _pieces) = Begin();
        }

        public WalStreamStart Start { get; }

        public WalFileName Segment => WalFileName.OfSegment(Start.Timeline, _number, _segmentSize);

        public string Path => System.IO.Path.Combine(_folder, Segment.ToString());

        public Lsn Received => new((_number * _segmentSize) + _length);

        /// <summary>Up to where all is durable.</summary>
        public Lsn Durable => _storing.Count > 0 ? _storedTo : new Lsn((_number * _segmentSize) + Math.Min(_kept, _length));

        /// <summary>Bytes of the unfinished segment that are in no piece.</summary>
        public uint Open => _length > _kept ? _length - _kept : 0;

        /// <summary>When the first byte that is not durable came; null: all is.</summary>
        public long? OldestOpen { get; private set; }

        public bool IsWhole => _length == _segmentSize;

        /// <summary>A piece does not reach over such a boundary, so that a few of them can be made one.</summary>
        public bool IsAtBoundary => _length % WalArchive.MostPiece == 0;

        public int Append(ReadOnlyMemory<byte> bytes, long now)
        {
            int taken = (int)Math.Min(bytes.Length, _segmentSize - _length);
            taken = (int)Math.Min(taken, WalArchive.MostPiece - (_length % WalArchive.MostPiece));
            try
            {
                _file.Write(bytes.Span[..taken]);
            }
            catch (IOException e)
            {
                throw new BackupIQException(ErrorCodes.Resource, $"What is received cannot be written to {Path}: {e.Message}", "Make space there.", e);
            }

            _length += (uint)taken;
            if (Open > 0)
            {
                OldestOpen ??= now;
            }

            return taken;
        }

        /// <summary>The whole segment is being stored from now on, and the next one begins.</summary>
        public void Store(Func<string, Task<string?>> store)
        {
            _file.Dispose();
            string path = Path;
            Lsn end = Received;
            _storing.Enqueue((store(path), end));
            _number++;
            (_file, _pieces) = Begin();
        }

        /// <summary>Waits until at most so many segments are being stored.</summary>
        public async Task SettleAsync(int most, Action<string?> stored)
        {
            while (_storing.Count > most || (_storing.Count > 0 && _storing.Peek().Task.IsCompleted))
            {
                (Task<string?> task, Lsn end) = _storing.Peek();
                string? notice = await task.ConfigureAwait(false);
                _storing.Dequeue();
                _storedTo = end;
                OldestOpen = Open > 0 || _storing.Count > 0 ? OldestOpen : null;
                stored(notice);
            }
        }

        /// <summary>What of the unfinished segment should be stored next, and which pieces that makes needless; null: nothing.</summary>
        public (uint From, uint To, IReadOnlyList<WalPiece> Holds)? NextPiece()
        {
            if (Open == 0)
            {
                return null;
            }

            uint block = (_length - 1) / WalArchive.MostPiece * WalArchive.MostPiece;
            WalPiece[] here = [.. _pieces.Where(piece => piece.From >= block && piece.To <= _length)];
            return here.Length >= MostPieces && !_mayNotMerge ? (block, _length, here) : (_kept, _length, []);
        }

        public void Keep(WalPiece piece, bool mayNotMerge)
        {
            _mayNotMerge |= mayNotMerge;
            _pieces.RemoveAll(one => one.From >= piece.From && one.To <= piece.To);
            _pieces.Add(piece);
            _kept = Math.Max(_kept, piece.To);
            OldestOpen = _storing.Count > 0 ? OldestOpen : null;
        }

        public IReadOnlyList<WalPiece> TakePieces() => _pieces;

        public void Tell(TimeProvider time, Action tell)
        {
            if (_told == 0 || time.GetElapsedTime(_told) >= Tick)
            {
                _told = time.GetTimestamp();
                tell();
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _file.DisposeAsync().ConfigureAwait(false);
            foreach ((Task<string?> task, _) in _storing)
            {
                await Task.WhenAny(task).ConfigureAwait(false);
            }
        }

        private (FileStream File, List<WalPiece> Pieces) Begin()
        {
            List<WalPiece> pieces = [.. _later.Where(piece => piece.Segment == Segment)];
            _later = [.. _later.Where(piece => piece.Segment != Segment)];
            _length = 0;
            _kept = WalPiece.Reach(pieces);
            return (DurableFile.OpenPrivate(Path, FileMode.Create, FileShare.ReadWrite), pieces);
        }
    }
}
