using System.Text;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Server.Mount;

/// <summary>
/// The entries that the kernel knows, by number. It knows an entry until it has forgotten every look-up of it, so that this holds no more of
/// each than where it is; what is in it is found again when it is asked for and not among the last ones. Safe for any thread.
/// </summary>
/// <remarks>
/// What a number stands for never changes, because the kernel keeps what it read of it. A name that leads to another snapshot than before, as
/// <c>latest</c> does after a backup, gets a new number.
/// </remarks>
internal sealed class InodeTable
{
    public const ulong Root = 1;

    /// <summary>Entries that are held with all that is known of them.</summary>
    private const int MaxRecent = 4096;

    private readonly RepositoryView _view;
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, Inode> _inodes = [];
    private readonly Dictionary<(ulong Parent, string Name), ulong> _numbers = [];
    private readonly Dictionary<ulong, LinkedListNode<(ulong Number, ViewEntry Entry)>> _recent = [];
    private readonly LinkedList<(ulong Number, ViewEntry Entry)> _order = [];
    private ulong _next = Root;

    public InodeTable(RepositoryView view)
    {
        _view = view;
        _inodes.Add(Root, new Inode { Parent = Root, Name = [], Top = Root, Lookups = 1, Held = view.Root });
    }

    /// <summary>How many entries the kernel knows.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _inodes.Count;
            }
        }
    }

    /// <summary>The number of the folder that an entry is in.</summary>
    public ulong ParentOf(ulong number)
    {
        lock (_gate)
        {
            return _inodes.TryGetValue(number, out Inode? inode) ? inode.Parent : Root;
        }
    }

    /// <summary>The entry of a number; null when it is gone.</summary>
    public async ValueTask<ViewEntry?> FindAsync(ulong number, CancellationToken cancellationToken)
    {
        Inode? inode;
        lock (_gate)
        {
            if (_recent.TryGetValue(number, out LinkedListNode<(ulong Number, ViewEntry Entry)>? node))
            {
                _order.Remove(node);
                _order.AddFirst(node);
                return node.Value.Entry;
            }

            if (!_inodes.TryGetValue(number, out inode))
            {
                return null;
            }

            if (inode.Held is { } held)
            {
                return held;
            }
        }

        if (await FindAsync(inode.Parent, cancellationToken).ConfigureAwait(false) is not { } parent
            || await _view.FindAsync(parent, inode.Name, cancellationToken).ConfigureAwait(false) is not { } entry)
        {
            return null;
        }

        lock (_gate)
        {
            Keep(number, entry);
        }

        return entry;
    }

    /// <summary>Notes that the kernel looked an entry up in a folder; returns its number, and the one that programs see.</summary>
    public (ulong Number, ulong Shown) Add(ulong parent, ViewEntry entry)
    {
        lock (_gate)
        {
            (ulong, string) key = KeyOf(parent, entry.Info.Name);
            Inode above = _inodes[parent];
            bool isBelowVirtual = above.Held is { IsVirtual: true };
            if (!_numbers.TryGetValue(key, out ulong number) || (isBelowVirtual && !_inodes[number].Held!.IsSame(entry)))
            {
                number = ++_next;
                _numbers[key] = number;
                _inodes.Add(number, new Inode { Parent = parent, Name = entry.Info.Name, Top = isBelowVirtual ? number : above.Top });
            }

            Inode inode = _inodes[number];
            inode.Lookups++;
            if (isBelowVirtual)
            {
                inode.Held = entry;
            }
            else
            {
                Keep(number, entry);
            }

            return (number, Shown(number, inode, entry));
        }
    }

    /// <summary>The number that programs see: names of one file in one snapshot have the same.</summary>
    public ulong Shown(ulong number, ViewEntry entry)
    {
        lock (_gate)
        {
            return _inodes.TryGetValue(number, out Inode? inode) ? Shown(number, inode, entry) : number;
        }
    }

    /// <summary>The kernel forgets so many look-ups.</summary>
    public void Forget(ulong number, ulong lookups)
    {
        lock (_gate)
        {
            if (number == Root || !_inodes.TryGetValue(number, out Inode? inode))
            {
                return;
            }

            inode.Lookups -= Math.Min(inode.Lookups, lookups);
            if (inode.Lookups == 0)
            {
                _inodes.Remove(number);
                (ulong, string) key = KeyOf(inode.Parent, inode.Name);
                if (_numbers.TryGetValue(key, out ulong latest) && latest == number)
                {
                    _numbers.Remove(key);
                }

                if (_recent.Remove(number, out LinkedListNode<(ulong Number, ViewEntry Entry)>? node))
                {
                    _order.Remove(node);
                }
            }
        }
    }

    private static (ulong Parent, string Name) KeyOf(ulong parent, byte[] name) => (parent, Encoding.Latin1.GetString(name));

    private static ulong Shown(ulong number, Inode inode, ViewEntry entry) =>
        entry.HardLinkGroup == 0 ? number : 0x8000_0000_0000_0000 | (entry.HardLinkGroup ^ (inode.Top * 0x9E37_79B9_7F4A_7C15));

    private void Keep(ulong number, ViewEntry entry)
    {
        if (_recent.TryGetValue(number, out LinkedListNode<(ulong Number, ViewEntry Entry)>? node))
        {
            node.Value = (number, entry);
            _order.Remove(node);
            _order.AddFirst(node);
            return;
        }

        _recent.Add(number, _order.AddFirst((number, entry)));
        if (_recent.Count > MaxRecent)
        {
            _recent.Remove(_order.Last!.Value.Number);
            _order.RemoveLast();
        }
    }

    private sealed class Inode
    {
        public required ulong Parent { get; init; }

        public required byte[] Name { get; init; }

        /// <summary>The snapshot that it is in.</summary>
        public required ulong Top { get; init; }

        /// <summary>The entry itself of folders of the view's own making and of snapshots, for what is found by their names changes.</summary>
        public ViewEntry? Held { get; set; }

        public ulong Lookups { get; set; }
    }
}
