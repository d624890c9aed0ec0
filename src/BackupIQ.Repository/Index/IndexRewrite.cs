using System.Buffers.Binary;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Index;

/// <summary>
/// Puts the plain bytes of an index segment together out of others', in memory: of each run the packs that are to be kept, with their salts,
/// frames and entries; tombstones as given.
/// </summary>
internal static class IndexRewrite
{
    /// <summary>Builds a segment of the packs for which <paramref name="keep"/> says yes, given a run and the pack's number in it.</summary>
    public static byte[] Build(
        IReadOnlyList<IndexRun> runs,
        Func<IndexRun, uint, bool> keep,
        IReadOnlyCollection<PackId> tombstones,
        SessionId session,
        ushort level,
        ulong sequence)
    {
        Numbers[] numbers = new Numbers[runs.Count];
        uint packs = 0;
        uint salts = 0;
        uint frames = 0;
        ulong entries = 0;
        for (int i = 0; i < runs.Count; i++)
        {
            numbers[i] = new Numbers(runs[i], keep, ref packs, ref salts, ref frames);
            entries += numbers[i].CountEntries();
        }

        IndexLayout layout = new(packs, salts, frames, (uint)tombstones.Count, entries);
        byte[] bytes = new byte[layout.Size];
        layout.WriteHead(bytes, session, level, sequence);
        foreach (Numbers one in numbers)
        {
            one.WriteTables(bytes, layout);
        }

        int at = (int)layout.TombstonesAt;
        foreach (PackId tombstone in tombstones.Order())
        {
            tombstone.Write(bytes.AsSpan(at));
            at += PackId.Size;
        }

        WriteEntries(numbers, bytes, (int)layout.EntriesAt);
        return bytes;
    }

    private static void WriteEntries(Numbers[] numbers, byte[] bytes, int at)
    {
        PriorityQueue<Numbers, UInt128> queue = new(numbers.Length);
        foreach (Numbers one in numbers)
        {
            if (one.MoveNext())
            {
                queue.Enqueue(one, one.Current.Prefix);
            }
        }

        while (queue.TryDequeue(out Numbers? one, out _))
        {
            one.Current.Write(bytes.AsSpan(at));
            at += IndexEntry.Size;
            if (one.MoveNext())
            {
                queue.Enqueue(one, one.Current.Prefix);
            }
        }
    }

    /// <summary>What the packs and frames of one run are called in the segment that is built; -1 for those that are left out.</summary>
    private sealed class Numbers
    {
        private readonly IndexRun _run;
        private readonly long[] _packs;
        private readonly long[] _frames;
        private readonly uint _firstSalt;
        private ulong _next;

        public Numbers(IndexRun run, Func<IndexRun, uint, bool> keep, ref uint packs, ref uint salts, ref uint frames)
        {
            _run = run;
            _firstSalt = salts;
            _packs = new long[run.Layout.Packs];
            for (uint i = 0; i < _packs.Length; i++)
            {
                bool isKept = keep(run, i);
                _packs[i] = isKept ? packs++ : -1;
                salts += isKept ? run.PackAt(i).SaltCount : 0u;
            }

            _frames = new long[run.Layout.Frames];
            for (uint i = 0; i < _frames.Length; i++)
            {
                run.FrameAt(i, out uint pack);
                _frames[i] = _packs[pack] >= 0 ? frames++ : -1;
            }
        }

        public IndexEntry Current { get; private set; }

        public ulong CountEntries()
        {
            ulong count = 0;
            for (ulong i = 0; i < (ulong)_run.EntryCount; i++)
            {
                count += _frames[_run.EntryAt(i).Frame] >= 0 ? 1u : 0u;
            }

            return count;
        }

        public bool MoveNext()
        {
            while (_next < (ulong)_run.EntryCount)
            {
                IndexEntry entry = _run.EntryAt(_next++);
                if (_frames[entry.Frame] >= 0)
                {
                    Current = entry with { Frame = (uint)_frames[entry.Frame] };
                    return true;
                }
            }

            return false;
        }

        public void WriteTables(byte[] bytes, in IndexLayout layout)
        {
            uint salt = _firstSalt;
            for (uint i = 0; i < _packs.Length; i++)
            {
                if (_packs[i] < 0)
                {
                    continue;
                }

                PackEntry pack = _run.PackAt(i);
                (pack with { FirstSalt = salt }).Write(bytes.AsSpan((int)(layout.PacksAt + (_packs[i] * PackEntry.EncodedSize))));
                for (uint s = 0; s < pack.SaltCount; s++, salt++)
                {
                    _run.SaltAt(pack.FirstSalt + s).Write(bytes.AsSpan((int)(layout.SaltsAt + (salt * (long)SaltRow.Size))));
                }
            }

            for (uint i = 0; i < _frames.Length; i++)
            {
                if (_frames[i] >= 0)
                {
                    Span<byte> at = bytes.AsSpan((int)(layout.FramesAt + (_frames[i] * IndexLayout.FrameSize)));
                    _run.FrameAt(i, out uint pack).Write(at);
                    BinaryPrimitives.WriteUInt32LittleEndian(at[FrameEntry.Size..], (uint)_packs[pack]);
                }
            }
        }
    }
}
