using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>
/// Follows a program that writes a folder of files, each from its start to its end, so that they can be read while they grow. One thread watches; when readers
/// fall behind the program stands still, so that what lies on the disk stays small.
/// </summary>
internal sealed class SpoolPipeline : IDisposable
{
    /// <summary>So much may wait to be read: a second's worth of a fast server, and no burden for a disk.</summary>
    public const long MostWaiting = 256 << 20;

    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    private readonly string _folder;
    private readonly string? _last;
    private readonly SupervisedProgram _program;
    private readonly FolderWatch _watch;
    private readonly long _mostWaiting;
    private readonly BlockingCollection<SpooledFile> _met = [];
    private readonly Dictionary<string, SpooledFile> _files = new(StringComparer.Ordinal);
    private readonly List<SpooledFile> _growing = [];
    private readonly object _gate = new();
    private readonly Thread _thread;
    private ExceptionDispatchInfo? _failure;
    private bool _isStopped;
    private bool _isPaused;
    private int _readers;
    private int _hungry;
    private long _written;
    private long _taken;

    /// <summary>Begins to follow. <paramref name="program"/> and <paramref name="watch"/>, which began before the program did, stay the caller's.</summary>
    /// <param name="folder">What the program writes into.</param>
    /// <param name="last">The name of a file that is not followed: it is there when the program has ended.</param>
    /// <param name="program">Who writes.</param>
    /// <param name="watch">Of that folder.</param>
    /// <param name="mostWaiting">Bytes that may wait to be read.</param>
    public SpoolPipeline(string folder, string? last, SupervisedProgram program, FolderWatch watch, long mostWaiting = MostWaiting)
    {
        _mostWaiting = mostWaiting;
        _folder = folder;
        _last = last;
        _program = program;
        _watch = watch;
        _thread = new Thread(Follow) { IsBackground = true, Name = "backupiq spool" };
        _thread.Start();
    }

    /// <summary>The next file that has begun, in the order of their beginnings; false: the program has ended and there are no more.</summary>
    public bool TryTake(out SpooledFile file, CancellationToken cancellationToken)
    {
        if (_met.TryTake(out file!, Timeout.Infinite, cancellationToken))
        {
            return true;
        }

        _failure?.Throw();
        return false;
    }

    /// <summary>A reader begins.</summary>
    public void Enter()
    {
        lock (_gate)
        {
            _readers++;
        }
    }

    /// <summary>A reader has taken so much.</summary>
    public void Take(long bytes) => Interlocked.Add(ref _taken, bytes);

    /// <summary>Waits until a file is longer than <paramref name="position"/>, or whole.</summary>
    /// <exception cref="OperationCanceledException">It will not be: this was disposed.</exception>
    public void WaitFor(SpooledFile file, long position)
    {
        lock (_gate)
        {
            _hungry++;
            while (file.Size <= position && !file.IsWhole && !_isStopped)
            {
                Monitor.Wait(_gate);
            }

            _hungry--;
            if (_isStopped && !file.IsWhole)
            {
                throw new OperationCanceledException("What is read is given up.");
            }
        }
    }

    /// <summary>Whether a file is whole: what is read after that is all of it.</summary>
    public bool IsWhole(SpooledFile file)
    {
        lock (_gate)
        {
            return file.IsWhole;
        }
    }

    /// <summary>A reader has ended.</summary>
    public void Leave()
    {
        lock (_gate)
        {
            _readers--;
        }
    }

    /// <summary>Ends the thread. Readers of files that are whole read on.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isStopped = true;
            Monitor.PulseAll(_gate);
        }

        _thread.Join();
    }

    private void Follow()
    {
        try
        {
            while (true)
            {
                // What the program did last is seen after it was seen to have ended.
                bool isLast = _program.HasEnded;
                Look(isLast);
                if (isLast)
                {
                    return;
                }

                lock (_gate)
                {
                    if (_isStopped)
                    {
                        return;
                    }

                    Monitor.Wait(_gate, Tick);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _failure = ExceptionDispatchInfo.Capture(e);
        }
        finally
        {
            _met.CompleteAdding();
            if (_failure is not null)
            {
                lock (_gate)
                {
                    _isStopped = true;
                    Monitor.PulseAll(_gate);
                }
            }
        }
    }

    private void Look(bool isLast)
    {
        List<SpooledFile> begun = [];
        lock (_gate)
        {
            foreach ((string name, bool isWhole) in _watch.Read())
            {
                Meet(name, begun);
                if (isWhole && _files.TryGetValue(name, out SpooledFile? file) && !file.IsWhole)
                {
                    End(file);
                    _growing.Remove(file);
                }
            }

            if (isLast || _watch.HasLost)
            {
                foreach (string path in Directory.EnumerateFiles(_folder))
                {
                    Meet(Path.GetFileName(path), begun);
                }
            }

            foreach (SpooledFile file in _growing)
            {
                Measure(file);
                if (isLast)
                {
                    End(file);
                }
            }

            if (isLast)
            {
                _growing.Clear();
            }

            Throttle();
            Monitor.PulseAll(_gate);
        }

        foreach (SpooledFile file in begun)
        {
            _met.Add(file);
        }
    }

    private void Meet(string name, List<SpooledFile> begun)
    {
        if (name == _last || _files.ContainsKey(name))
        {
            return;
        }

        SpooledFile file = new(_folder, name);
        _files.Add(name, file);
        _growing.Add(file);
        begun.Add(file);
    }

    private void End(SpooledFile file)
    {
        Measure(file);
        file.IsWhole = true;
    }

    private void Measure(SpooledFile file)
    {
        long size = new FileInfo(file.Path).Length;
        _written += size - file.Size;
        file.Size = size;
    }

    // A program that stands still while each reader waits for it would stand so for ever.
    private void Throttle()
    {
        long waiting = _written - Interlocked.Read(ref _taken);
        bool isWaitedFor = _hungry > 0 && _hungry == _readers;
        if (!_isPaused && waiting > _mostWaiting && !isWaitedFor)
        {
            _program.Pause();
            _isPaused = true;
        }
        else if (_isPaused && (waiting < _mostWaiting / 2 || isWaitedFor))
        {
            _program.Resume();
            _isPaused = false;
        }
    }
}
