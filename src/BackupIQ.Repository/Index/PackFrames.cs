namespace BackupIQ.Repository.Index;

/// <summary>Which frames of a run belong to which of its packs. Writers put a pack's frames one behind the other; others are refused.</summary>
internal sealed class PackFrames
{
    private readonly uint[] _first;
    private readonly uint[] _count;

    /// <exception cref="CorruptDataException">The frames of a pack are scattered.</exception>
    public PackFrames(IndexRun run)
    {
        _first = new uint[run.Layout.Packs];
        _count = new uint[run.Layout.Packs];
        for (uint f = 0; f < run.Layout.Frames; f++)
        {
            run.FrameAt(f, out uint pack);
            if (_count[pack] == 0)
            {
                _first[pack] = f;
            }
            else if (f != _first[pack] + _count[pack])
            {
                throw new CorruptDataException($"The index scatters the frames of pack {run.PackAt(pack).Id}.");
            }

            _count[pack]++;
        }
    }

    /// <summary>The number of a pack's first frame.</summary>
    public uint First(uint pack) => _first[pack];

    /// <summary>How many frames a pack has.</summary>
    public uint Count(uint pack) => _count[pack];
}
