using System.Buffers.Binary;
using System.Text;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Index;

/// <summary>
/// Merges runs of the local cache into one, streaming: tables are joined with their numbers moved, entries merged in order. Needs memory
/// for one buffer only. Every entry of every run is in the result, so union(old) equals new.
/// </summary>
internal static class IndexMerge
{
    // Not an object of the large heap, where each merge would leave one behind.
    private const int BufferSize = 64 << 10;

    public static void Write(string path, IReadOnlyList<IndexRun> runs)
    {
        IndexLayout layout = new(
            Sum(runs, static r => r.Layout.Packs),
            Sum(runs, static r => r.Layout.Salts),
            Sum(runs, static r => r.Layout.Frames),
            Sum(runs, static r => r.Layout.Tombstones),
            (ulong)runs.Sum(static r => r.EntryCount));
        string temporary = path + ".tmp";
        using (SafeFileHandle file = File.OpenHandle(temporary, FileMode.Create, FileAccess.Write))
        {
            Output output = new(file);
            layout.WriteHead(output.Take(IndexLayout.HeadSize), default, 0, 0);
            WriteTables(runs, output);
            WriteEntries(runs, output);
            byte[] names = Encoding.ASCII.GetBytes(string.Join('\n', runs.SelectMany(static r => r.Covers)));
            output.Finish(names);
        }

        File.Move(temporary, path, overwrite: true);
    }

    private static uint Sum(IReadOnlyList<IndexRun> runs, Func<IndexRun, uint> count)
    {
        uint sum = 0;
        foreach (IndexRun run in runs)
        {
            sum = checked(sum + count(run));
        }

        return sum;
    }

    private static void WriteTables(IReadOnlyList<IndexRun> runs, Output output)
    {
        uint salts = 0;
        foreach (IndexRun run in runs)
        {
            for (uint i = 0; i < run.Layout.Packs; i++)
            {
                PackEntry pack = run.PackAt(i);
                (pack with { FirstSalt = pack.FirstSalt + salts }).Write(output.Take(PackEntry.EncodedSize));
            }

            salts += run.Layout.Salts;
        }

        foreach (IndexRun run in runs)
        {
            for (uint i = 0; i < run.Layout.Salts; i++)
            {
                run.SaltAt(i).Write(output.Take(SaltRow.Size));
            }
        }

        uint packs = 0;
        foreach (IndexRun run in runs)
        {
            for (uint i = 0; i < run.Layout.Frames; i++)
            {
                FrameEntry frame = run.FrameAt(i, out uint pack);
                Span<byte> at = output.Take(IndexLayout.FrameSize);
                frame.Write(at);
                BinaryPrimitives.WriteUInt32LittleEndian(at[FrameEntry.Size..], pack + packs);
            }

            packs += run.Layout.Packs;
        }

        foreach (IndexRun run in runs)
        {
            for (uint i = 0; i < run.Layout.Tombstones; i++)
            {
                run.TombstoneAt(i).Write(output.Take(PackId.Size));
            }
        }
    }

    private static void WriteEntries(IReadOnlyList<IndexRun> runs, Output output)
    {
        uint[] firstFrame = new uint[runs.Count];
        ulong[] next = new ulong[runs.Count];
        PriorityQueue<int, UInt128> queue = new(runs.Count);
        uint frames = 0;
        for (int i = 0; i < runs.Count; i++)
        {
            firstFrame[i] = frames;
            frames += runs[i].Layout.Frames;
            if (runs[i].EntryCount > 0)
            {
                queue.Enqueue(i, runs[i].PrefixAt(0));
            }
        }

        while (queue.TryDequeue(out int run, out _))
        {
            IndexEntry entry = runs[run].EntryAt(next[run]++);
            (entry with { Frame = entry.Frame + firstFrame[run] }).Write(output.Take(IndexEntry.Size));
            if (next[run] < (ulong)runs[run].EntryCount)
            {
                queue.Enqueue(run, runs[run].PrefixAt(next[run]));
            }
        }
    }

    /// <summary>A buffered, hashed file that is only appended to.</summary>
    private sealed class Output(SafeFileHandle file)
    {
        private readonly byte[] _buffer = new byte[BufferSize];
        private readonly Blake3Hasher _hasher = new();
        private int _used;
        private long _at;

        public Span<byte> Take(int count)
        {
            if (_used + count > _buffer.Length)
            {
                Flush();
            }

            _used += count;
            return _buffer.AsSpan(_used - count, count);
        }

        public void Finish(byte[] names)
        {
            Flush();
            IndexRun.AppendTrailer(file, _hasher, names, _at);
        }

        private void Flush()
        {
            IndexRun.Append(file, _hasher, _buffer.AsSpan(0, _used), ref _at);
            _used = 0;
        }
    }
}
