using System.Buffers;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;

namespace BackupIQ.Server.Mount;

/// <summary>
/// Mounts a <see cref="RepositoryView"/> as a file system through libfuse 3, read-only, until it is disposed or unmounted. Snapshots never
/// change, so that the kernel keeps what it has read of them. Owns the threads that answer it.
/// </summary>
public sealed class MountPipeline : IAsyncDisposable
{
    private const int NoEntry = 2;
    private const int InputOutput = 5;
    private const int NoSuchPlace = 6;
    private const int NotADirectory = 20;
    private const int Range = 34;
    private const int NoAttribute = 61;
    private const int SeekHole = 4;
    private const int Interrupted = 4;

    /// <summary>Seconds for which the kernel may take what it knows of a snapshot's entries for true.</summary>
    private const double Lasting = 86_400;

    /// <summary>Seconds for folders of the view's own making, in which snapshots come and go.</summary>
    private const double Passing = 1;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly RepositoryView _view;
    private readonly InodeTable _inodes;
    private readonly Action<string, BackupIQException> _onFailure;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly GCHandle _self;
    private readonly string _folder;
    private nint _session;
    private int _running;
    private bool _isDisposed;

    private MountPipeline(RepositoryView view, string folder, Action<string, BackupIQException> onFailure)
    {
        _view = view;
        _folder = Path.GetFullPath(folder);
        _inodes = new InodeTable(view);
        _onFailure = onFailure;
        _self = GCHandle.Alloc(this);
    }

    /// <summary>Ends when the file system is unmounted, by whomever.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Entries that the kernel knows at this moment.</summary>
    public int KnownEntries => _inodes.Count;

    /// <summary>Mounts. The view stays the caller's and must outlive the mount.</summary>
    /// <param name="view">What is mounted.</param>
    /// <param name="options">Where and how.</param>
    /// <param name="onFailure">Told of reads that damage or the storage made fail: the name and why. Called from any thread.</param>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: FUSE is not there; <c>Resource</c>: the folder cannot be mounted on.</exception>
    public static MountPipeline Start(RepositoryView view, MountOptions options, Action<string, BackupIQException> onFailure)
    {
        if (!Directory.Exists(options.Folder))
        {
            throw new BackupIQException(
                ErrorCodes.RestoreTarget, "There is no folder to mount on", "Make it first. Where a mount was killed, 'umount' takes what is left of it away.")
                .With("folder", options.Folder);
        }

        if (!File.Exists("/dev/fuse"))
        {
            throw new BackupIQException(
                ErrorCodes.MissingLibrary, "This machine has no /dev/fuse", "Load its module ('modprobe fuse'), give the container that device, or use 'backupiq serve webdav'.");
        }

        MountPipeline mount = new(view, options.Folder, onFailure);
        try
        {
            mount.Mount(options);
            return mount;
        }
        catch
        {
            mount.Free();
            throw;
        }
    }

    /// <summary>
    /// Unmounts, and waits a moment for what is being answered. Whoever still has a file open gets errors from now on; with the last one to close
    /// it the rest goes.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, true))
        {
            return;
        }

        await _stop.CancelAsync().ConfigureAwait(false);
        if (!_ended.Task.IsCompleted)
        {
            await DetachAsync().ConfigureAwait(false);
        }

        Task freed = FreeAsync();
        await Task.WhenAny(freed, Task.Delay(Patience, CancellationToken.None)).ConfigureAwait(false);
    }

    private unsafe void Mount(MountOptions options)
    {
        string flags = "ro,nosuid,nodev,fsname=backupiq,subtype=backupiq" + (options.AllowOther ? ",allow_other,default_permissions" : "");
        nint[] words = [Marshal.StringToCoTaskMemUTF8("backupiq"), Marshal.StringToCoTaskMemUTF8("-o"), Marshal.StringToCoTaskMemUTF8(flags)];
        nint* operations = (nint*)NativeMemory.AllocZeroed(LibFuse.OperationCount, (nuint)sizeof(nint));
        try
        {
            SetOperations(operations);
            fixed (nint* values = words)
            {
                FuseArguments arguments = new() { Count = words.Length, Values = (byte**)values };
                _session = LibFuse.NewSession(&arguments, operations, (nuint)(LibFuse.OperationCount * sizeof(nint)), GCHandle.ToIntPtr(_self));
            }
        }
        catch (DllNotFoundException missing)
        {
            throw new BackupIQException(ErrorCodes.MissingLibrary, $"{LibFuse.Library} is not installed", "Install it: apt-get install fuse3; or use 'backupiq serve webdav'.", missing);
        }
        finally
        {
            NativeMemory.Free(operations);
            foreach (nint word in words)
            {
                Marshal.FreeCoTaskMem(word);
            }
        }

        if (_session == 0 || LibFuse.Mount(_session, _folder) != 0)
        {
            throw new BackupIQException(
                ErrorCodes.Resource, "The folder cannot be mounted on", "What FUSE says stands above. Check that nothing is mounted there and that you may mount.")
                .With("folder", options.Folder);
        }

        int workers = options.Workers > 0 ? options.Workers : Math.Max(4, 2 * Environment.ProcessorCount);
        _running = workers;
        for (int i = 0; i < workers; i++)
        {
            new Thread(Work, 1 << 20) { IsBackground = true, Name = "mount" }.Start();
        }
    }

    private static unsafe void SetOperations(nint* operations)
    {
        operations[LibFuse.Lookup] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, void>)&OnLookup;
        operations[LibFuse.Forget] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, ulong, void>)&OnForget;
        operations[LibFuse.ForgetMany] = (nint)(delegate* unmanaged[Cdecl]<nint, nuint, FuseForget*, void>)&OnForgetMany;
        operations[LibFuse.GetAttributes] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, void>)&OnGetAttributes;
        operations[LibFuse.ReadLink] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, void>)&OnReadLink;
        operations[LibFuse.Open] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, void>)&OnOpen;
        operations[LibFuse.Read] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, nuint, long, byte*, void>)&OnRead;
        operations[LibFuse.Seek] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, long, int, byte*, void>)&OnSeek;
        operations[LibFuse.Release] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, void>)&OnRelease;
        operations[LibFuse.OpenDirectory] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, void>)&OnOpenDirectory;
        operations[LibFuse.ReadDirectory] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, nuint, long, byte*, void>)&OnReadDirectory;
        operations[LibFuse.ReadDirectoryPlus] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, nuint, long, byte*, void>)&OnReadDirectoryPlus;
        operations[LibFuse.ReleaseDirectory] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, void>)&OnRelease;
        operations[LibFuse.FileSystemStatus] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, void>)&OnFileSystemStatus;
        operations[LibFuse.GetExtendedAttribute] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, byte*, nuint, void>)&OnGetExtendedAttribute;
        operations[LibFuse.ListExtendedAttributes] = (nint)(delegate* unmanaged[Cdecl]<nint, ulong, nuint, void>)&OnListExtendedAttributes;
    }

    // Each worker asks the kernel for a request, answers it, and asks again.
    private unsafe void Work()
    {
        FuseBuffer buffer = default;
        while (LibFuse.HasExited(_session) == 0)
        {
            int received = LibFuse.Receive(_session, &buffer);
            if (received == -Interrupted)
            {
                continue;
            }

            if (received <= 0)
            {
                break;
            }

            LibFuse.Process(_session, &buffer);
        }

        NativeMemory.Free(buffer.Memory);
        if (Interlocked.Decrement(ref _running) == 0)
        {
            _ended.TrySetResult();
        }
    }

    // Takes the mount out of the tree of folders. The connection stays for those who still have a file open, and so do the workers: a request
    // that nobody answers would hang whoever made it. libfuse's own way closes the connection's descriptor first, under the workers' feet.
    private async Task DetachAsync()
    {
        if (LibFuse.DetachFolder(_folder, LibFuse.DetachFlag) != 0)
        {
            // Who is not root may only by this program.
            using Process unmounting = Process.Start(new ProcessStartInfo("fusermount3", ["-u", "-z", "-q", "--", _folder]) { UseShellExecute = false })!;
            await unmounting.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        }
    }

    private async Task FreeAsync()
    {
        await _ended.Task.ConfigureAwait(false);
        Free();
        _stop.Dispose();
    }

    private void Free()
    {
        if (_session != 0)
        {
            LibFuse.Unmount(_session);
            LibFuse.Destroy(_session);
            _session = 0;
        }

        _self.Free();
    }

    private static MountPipeline Of(nint request) => (MountPipeline)GCHandle.FromIntPtr(LibFuse.UserData(request)).Target!;

    private void AnswerFor(nint request, ulong inode, Action<ViewEntry> answer) => Answer(request, () =>
    {
        if (Find(inode) is { } entry)
        {
            answer(entry);
        }
        else
        {
            _ = LibFuse.ReplyError(request, NoEntry);
        }
    });

    // The one place where requests fail: the kernel gets a number, whoever mounted a sentence. A request must be answered once, so an answer
    // is the last thing that any of them does.
    private void Answer(nint request, Action answer)
    {
        int error;
        try
        {
            answer();
            return;
        }
        catch (BackupIQException failure)
        {
            _onFailure("", failure);
            error = InputOutput;
        }
        catch (OperationCanceledException)
        {
            error = Interrupted;
        }
        catch (Exception fault)
        {
            _onFailure("", new BackupIQException(ErrorCodes.Internal, $"{fault.GetType().Name}: {fault.Message}", null, fault));
            error = InputOutput;
        }

        _ = LibFuse.ReplyError(request, error);
    }

    private T Wait<T>(ValueTask<T> task) => task.IsCompletedSuccessfully ? task.Result : task.AsTask().GetAwaiter().GetResult();

    private ViewEntry? Find(ulong inode) => Wait(_inodes.FindAsync(inode, _stop.Token));

    private static double TimeoutOf(ViewEntry entry, ViewEntry folder) => entry.IsVirtual || folder.IsVirtual ? Passing : Lasting;

    private static uint LinksOf(ViewEntry entry) => entry.HardLinkGroup == 0 ? 1u : 2u;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnLookup(nint request, ulong parent, byte* name)
    {
        MountPipeline mount = Of(request);
        byte[] wanted = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name).ToArray();
        mount.AnswerFor(request, parent, folder => mount.Lookup(request, parent, folder, wanted));
    }

    private unsafe void Lookup(nint request, ulong parent, ViewEntry folder, byte[] name)
    {
        Span<byte> parameter = stackalloc byte[FuseLayouts.EntrySize];
        if (Wait(_view.FindAsync(folder, name, _stop.Token)) is not { } entry)
        {
            // The kernel remembers that there is none, too.
            FuseLayouts.WriteEntry(parameter, 0, 0, null, 0, folder.IsVirtual ? Passing : Lasting);
        }
        else
        {
            (ulong number, ulong shown) = _inodes.Add(parent, entry);
            FuseLayouts.WriteEntry(parameter, number, shown, entry, LinksOf(entry), TimeoutOf(entry, folder));
        }

        fixed (byte* bytes = parameter)
        {
            _ = LibFuse.ReplyEntry(request, bytes);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnForget(nint request, ulong inode, ulong lookups)
    {
        Of(request)._inodes.Forget(inode, lookups);
        LibFuse.ReplyNone(request);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnForgetMany(nint request, nuint count, FuseForget* forgets)
    {
        MountPipeline mount = Of(request);
        for (nuint i = 0; i < count; i++)
        {
            mount._inodes.Forget(forgets[i].Inode, forgets[i].Lookups);
        }

        LibFuse.ReplyNone(request);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnGetAttributes(nint request, ulong inode, byte* fileInfo)
    {
        MountPipeline mount = Of(request);
        mount.AnswerFor(request, inode, entry => mount.GetAttributes(request, inode, entry));
    }

    private unsafe void GetAttributes(nint request, ulong inode, ViewEntry entry)
    {
        Span<byte> stat = stackalloc byte[FuseLayouts.StatSize];
        FuseLayouts.WriteStat(stat, _inodes.Shown(inode, entry), entry, LinksOf(entry));
        fixed (byte* bytes = stat)
        {
            _ = LibFuse.ReplyAttributes(request, bytes, entry.IsVirtual ? Passing : Lasting);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnReadLink(nint request, ulong inode)
    {
        MountPipeline mount = Of(request);
        mount.Answer(request, () =>
        {
            byte[] target = [.. mount.Find(inode)?.Info.LinkTarget ?? [], 0];
            fixed (byte* bytes = target)
            {
                _ = target.Length > 1 ? LibFuse.ReplyLink(request, bytes) : LibFuse.ReplyError(request, NoEntry);
            }
        });
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnOpen(nint request, ulong inode, byte* fileInfo)
    {
        MountPipeline mount = Of(request);
        mount.AnswerFor(request, inode, entry => Open(request, fileInfo, mount._view.OpenFile(entry), keepCache: true));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnOpenDirectory(nint request, ulong inode, byte* fileInfo)
    {
        MountPipeline mount = Of(request);
        mount.AnswerFor(request, inode, entry =>
        {
            if (!entry.IsFolder)
            {
                _ = LibFuse.ReplyError(request, NotADirectory);
            }
            else
            {
                Open(request, fileInfo, new FolderCursor(mount._view, entry), keepCache: false);
            }
        });
    }

    private static unsafe void Open(nint request, byte* fileInfo, object what, bool keepCache)
    {
        GCHandle handle = GCHandle.Alloc(what);
        FuseLayouts.SetHandle(fileInfo, GCHandle.ToIntPtr(handle), keepCache);
        if (LibFuse.ReplyOpen(request, fileInfo) != 0)
        {
            // The caller was interrupted: nobody will release it.
            handle.Free();
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnRelease(nint request, ulong inode, byte* fileInfo)
    {
        GCHandle handle = GCHandle.FromIntPtr(FuseLayouts.GetHandle(fileInfo));
        MountPipeline mount = Of(request);
        mount.Answer(request, () =>
        {
            if (handle.Target is FolderCursor cursor)
            {
                cursor.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }

            handle.Free();
            _ = LibFuse.ReplyError(request, 0);
        });
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnRead(nint request, ulong inode, nuint size, long offset, byte* fileInfo)
    {
        MountPipeline mount = Of(request);
        ViewFile file = (ViewFile)GCHandle.FromIntPtr(FuseLayouts.GetHandle(fileInfo)).Target!;
        mount.Answer(request, () => mount.Read(request, file, (int)size, offset));
    }

    private unsafe void Read(nint request, ViewFile file, int size, long offset)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Math.Max(size, 1));
        try
        {
            int read = Wait(file.ReadAsync(offset, buffer.AsMemory(0, size), _stop.Token));
            fixed (byte* bytes = buffer)
            {
                _ = LibFuse.ReplyBytes(request, bytes, (nuint)read);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // Only for holes and data: any other place the kernel finds by itself.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnSeek(nint request, ulong inode, long offset, int whence, byte* fileInfo)
    {
        MountPipeline mount = Of(request);
        ViewFile file = (ViewFile)GCHandle.FromIntPtr(FuseLayouts.GetHandle(fileInfo)).Target!;
        mount.Answer(request, () =>
            _ = offset >= 0 && file.Seek(offset, hole: whence == SeekHole) is { } place ? LibFuse.ReplyPlace(request, place) : LibFuse.ReplyError(request, NoSuchPlace));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnReadDirectory(nint request, ulong inode, nuint size, long offset, byte* fileInfo) =>
        List(request, inode, size, offset, fileInfo, plus: false);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnReadDirectoryPlus(nint request, ulong inode, nuint size, long offset, byte* fileInfo) =>
        List(request, inode, size, offset, fileInfo, plus: true);

    private static unsafe void List(nint request, ulong inode, nuint size, long offset, byte* fileInfo, bool plus)
    {
        MountPipeline mount = Of(request);
        FolderCursor cursor = (FolderCursor)GCHandle.FromIntPtr(FuseLayouts.GetHandle(fileInfo)).Target!;
        mount.Answer(request, () => mount.List(request, inode, cursor, (int)size, offset, plus));
    }

    private unsafe void List(nint request, ulong inode, FolderCursor cursor, int size, long offset, bool plus)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(size);
        try
        {
            int used;
            cursor.Gate.Wait(_stop.Token);
            try
            {
                used = Fill(request, buffer, inode, cursor, size, offset, plus);
            }
            finally
            {
                cursor.Gate.Release();
            }

            // With the answer the folder may be closed by its reader, so it comes last.
            fixed (byte* bytes = buffer)
            {
                _ = LibFuse.ReplyBytes(request, bytes, (nuint)used);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private int Fill(nint request, byte[] buffer, ulong inode, FolderCursor cursor, int size, long offset, bool plus)
    {
        int used = 0;
        ViewEntry folder = Find(inode) ?? _view.Root;
        for (; offset < 2; offset++)
        {
            ulong number = offset == 0 ? inode : _inodes.ParentOf(inode);
            if (!Put(request, buffer, size, ref used, offset == 0 ? "."u8 : ".."u8, number, 0, folder, offset + 1, plus))
            {
                return used;
            }
        }

        while (Wait(cursor.PeekAsync(offset - 2, _stop.Token)) is { } entry)
        {
            // What the kernel gets to know of here, it will forget.
            (ulong number, ulong shown) = plus ? _inodes.Add(inode, entry) : (0, ulong.MaxValue);
            if (!Put(request, buffer, size, ref used, entry.Info.Name, shown, number, entry, offset + 1, plus, TimeoutOf(entry, folder)))
            {
                if (plus)
                {
                    _inodes.Forget(number, 1);
                }

                return used;
            }

            offset++;
        }

        return used;
    }

    // Adds an entry to a listing; false when there is no more room.
    private static unsafe bool Put(
        nint request, byte[] buffer, int size, ref int used, ReadOnlySpan<byte> name, ulong shown, ulong number, ViewEntry entry, long next, bool plus, double timeout = Passing)
    {
        Span<byte> parameter = stackalloc byte[FuseLayouts.EntrySize];
        byte[] terminated = [.. name, 0];
        FuseLayouts.WriteEntry(parameter, number, shown, entry, LinksOf(entry), timeout);
        fixed (byte* into = buffer, word = terminated, bytes = parameter)
        {
            nuint room = (nuint)(size - used);
            nuint needed = plus
                ? LibFuse.AddEntryPlus(request, into + used, room, word, bytes, next)
                : LibFuse.AddEntry(request, into + used, room, word, bytes + 16, next);
            if (needed > room)
            {
                return false;
            }

            used += (int)needed;
            return true;
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnFileSystemStatus(nint request, ulong inode)
    {
        byte* status = stackalloc byte[FuseLayouts.FileSystemStatusSize];
        FuseLayouts.WriteFileSystemStatus(new Span<byte>(status, FuseLayouts.FileSystemStatusSize));
        _ = LibFuse.ReplyStatus(request, status);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnGetExtendedAttribute(nint request, ulong inode, byte* name, nuint size)
    {
        MountPipeline mount = Of(request);
        byte[] wanted = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name).ToArray();
        mount.Answer(request, () =>
        {
            foreach ((byte[] own, byte[] value) in mount.Find(inode)?.Attributes ?? [])
            {
                if (own.AsSpan().SequenceEqual(wanted))
                {
                    ReplyAttribute(request, value, size);
                    return;
                }
            }

            _ = LibFuse.ReplyError(request, NoAttribute);
        });
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnListExtendedAttributes(nint request, ulong inode, nuint size)
    {
        MountPipeline mount = Of(request);
        mount.Answer(request, () =>
        {
            byte[] names = [.. (mount.Find(inode)?.Attributes ?? []).SelectMany(static attribute => (byte[])[.. attribute.Name, 0])];
            ReplyAttribute(request, names, size);
        });
    }

    private static unsafe void ReplyAttribute(nint request, byte[] value, nuint size)
    {
        if (size == 0)
        {
            _ = LibFuse.ReplyAttributeSize(request, (nuint)value.Length);
        }
        else if ((nuint)value.Length > size)
        {
            _ = LibFuse.ReplyError(request, Range);
        }
        else
        {
            fixed (byte* bytes = value)
            {
                _ = LibFuse.ReplyBytes(request, bytes, (nuint)value.Length);
            }
        }
    }
}
