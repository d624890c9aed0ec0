namespace BackupIQ.Engine.Backup;

/// <summary>
/// What the workers of a backup do next: pieces of large files first, because somebody's buffer waits for them, then batches of files in
/// the order of the walk. Bounded: whoever adds a batch waits while enough of them are queued.
/// </summary>
internal sealed class WorkQueue(int maxBatches, int maxPieces)
{
    private readonly Queue<IWork> _batches = new();
    private readonly Queue<IWork> _pieces = new();
    private readonly object _gate = new();
    private bool _isComplete;
    private bool _isWaitedFor;
    private int _unfinished;
    private Exception? _failure;

    /// <summary>Adds a batch; blocks while the queue is full.</summary>
    public void Add(IWork work)
    {
        lock (_gate)
        {
            while (_batches.Count >= maxBatches && _failure is null)
            {
                Monitor.Wait(_gate);
            }

            ThrowIfFailed();
            _batches.Enqueue(work);
            _unfinished++;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Adds a piece of a large file unless the queue is full; then the caller does it itself.</summary>
    public bool TryAddPiece(IWork work)
    {
        lock (_gate)
        {
            ThrowIfFailed();
            if (_pieces.Count >= maxPieces)
            {
                return false;
            }

            _pieces.Enqueue(work);
            if (_isWaitedFor)
            {
                // One pulse might wake who waits for the end instead of a worker.
                Monitor.PulseAll(_gate);
            }
            else
            {
                Monitor.Pulse(_gate);
            }

            return true;
        }
    }

    /// <summary>Takes a piece, or false when there is none; for those who wait for pieces to be done.</summary>
    public bool TryTakePiece(out IWork work)
    {
        lock (_gate)
        {
            return _pieces.TryDequeue(out work!);
        }
    }

    /// <summary>Takes the next work; false when there will be none.</summary>
    public bool Take(out IWork work)
    {
        lock (_gate)
        {
            while (true)
            {
                if (_failure is not null)
                {
                    work = null!;
                    return false;
                }

                if (_pieces.TryDequeue(out work!))
                {
                    return true;
                }

                if (_batches.TryDequeue(out work!))
                {
                    Monitor.PulseAll(_gate);
                    return true;
                }

                if (_isComplete)
                {
                    return false;
                }

                Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>What was taken is done.</summary>
    public void Finish(IWork work)
    {
        if (work is FileBatch)
        {
            lock (_gate)
            {
                _unfinished--;
                if (_isWaitedFor)
                {
                    Monitor.PulseAll(_gate);
                }
            }
        }
    }

    /// <summary>Waits until every batch that was added is done.</summary>
    public void WaitForBatches()
    {
        lock (_gate)
        {
            _isWaitedFor = true;
            while (_unfinished > 0 && _failure is null)
            {
                Monitor.Wait(_gate);
            }

            _isWaitedFor = false;
            ThrowIfFailed();
        }
    }

    /// <summary>No more batches will come.</summary>
    public void Complete()
    {
        lock (_gate)
        {
            _isComplete = true;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Ends everything: who waits is woken, who adds gets the failure.</summary>
    public void Fail(Exception failure)
    {
        lock (_gate)
        {
            _failure ??= failure;
            Monitor.PulseAll(_gate);
        }
    }

    private void ThrowIfFailed()
    {
        if (_failure is not null)
        {
            throw new OperationCanceledException("The backup ends.", _failure);
        }
    }
}

/// <summary>Something that a worker does with its own buffers and frame writer.</summary>
internal interface IWork
{
    void Run(FileWorker worker);
}
