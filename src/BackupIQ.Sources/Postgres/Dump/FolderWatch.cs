using System.Runtime.InteropServices;
using System.Text;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>Tells which files of a folder were made and which are whole: nobody has them open for writing any more (inotify). One thread asks.</summary>
internal sealed unsafe class FolderWatch : IDisposable
{
    private const uint CloseWrite = 0x8;
    private const uint Create = 0x100;
    private const uint Overflow = 0x4000;

    // wd, mask, cookie, len; then len bytes of the name with zeros behind it.
    private const int HeaderSize = 16;

    private readonly byte[] _buffer = new byte[64 << 10];
    private readonly DescriptorHandle? _handle;

    /// <summary>Begins to watch. Where the system allows no more watches, nothing is ever told.</summary>
    public FolderWatch(string folder)
    {
        int descriptor = LibC.InotifyInit(OpenFlags.NonBlocking | OpenFlags.CloseOnExec);
        if (descriptor < 0)
        {
            HasLost = true;
            return;
        }

        _handle = new DescriptorHandle(descriptor);
        fixed (byte* path = Encoding.UTF8.GetBytes(folder + "\0"))
        {
            HasLost = LibC.InotifyAddWatch(descriptor, path, CloseWrite | Create) < 0;
        }
    }

    /// <summary>Some were not told: only the folder itself knows.</summary>
    public bool HasLost { get; private set; }

    /// <summary>What happened since it was asked last, in its order.</summary>
    public IReadOnlyList<(string Name, bool IsWhole)> Read()
    {
        List<(string, bool)> events = [];
        if (_handle is null)
        {
            return events;
        }

        while (true)
        {
            nint read;
            fixed (byte* pointer = _buffer)
            {
                read = LibC.Read(_handle.Descriptor, pointer, (nuint)_buffer.Length);
            }

            GC.KeepAlive(_handle);
            if (read <= 0)
            {
                return events;
            }

            ReadOnlySpan<byte> rest = _buffer.AsSpan(0, (int)read);
            while (rest.Length >= HeaderSize)
            {
                uint mask = MemoryMarshal.Read<uint>(rest[4..]);
                int length = (int)MemoryMarshal.Read<uint>(rest[12..]);
                HasLost |= (mask & Overflow) != 0;
                if (length > 0)
                {
                    events.Add((Encoding.UTF8.GetString(rest.Slice(HeaderSize, length).TrimEnd((byte)0)), (mask & CloseWrite) != 0));
                }

                rest = rest[(HeaderSize + length)..];
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle?.Dispose();
}
