namespace BackupIQ.Engine.Backup;

/// <summary>Part of a large file's work, done by any worker while the file's reader waits for it or does others.</summary>
internal abstract class SharedPiece : IWork
{
    private readonly ManualResetEventSlim _done = new(false, spinCount: 20);
    private Exception? _failure;

    public bool IsDone => _done.IsSet;

    public void Run(FileWorker worker)
    {
        try
        {
            Do(worker);
        }
        catch (Exception e)
        {
            // Told to the file's reader, whose failure it is; the worker that happened to do the piece goes on.
            _failure = e;
        }
        finally
        {
            LetGo();
            _done.Set();
        }
    }

    /// <summary>Waits until it is done, and does other pieces meanwhile.</summary>
    public void Await(WorkQueue queue, FileWorker worker)
    {
        while (!IsDone)
        {
            if (queue.TryTakePiece(out IWork work))
            {
                work.Run(worker);
            }
            else
            {
                _done.Wait(TimeSpan.FromMilliseconds(1));
            }
        }
    }

    public void ThrowIfFailed()
    {
        if (_failure is not null)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(_failure);
        }
    }

    protected abstract void Do(FileWorker worker);

    /// <summary>It is over, whatever came of it: what it held is given back.</summary>
    protected virtual void LetGo()
    {
    }
}
