using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Index;

/// <summary>A pack's place in a run.</summary>
internal readonly record struct PackPlace(IndexRun Run, PackFrames Frames, uint Number);

/// <summary>Proves that nothing is lost when an index segment goes: all that it says of packs is said elsewhere, to the last number.</summary>
internal static class IndexProof
{
    /// <summary>
    /// Whether all that <paramref name="run"/> says of its packs also stands where <paramref name="home"/> says. Packs of which it says
    /// nothing (null) are dead, and need not be named any more.
    /// </summary>
    public static bool IsCovered(IndexRun run, Func<PackId, PackPlace?> home)
    {
        PackFrames frames = new(run);
        PackPlace?[] places = new PackPlace?[run.Layout.Packs];
        for (uint i = 0; i < places.Length; i++)
        {
            PackEntry pack = run.PackAt(i);
            places[i] = home(pack.Id);
            if (places[i] is { } place && !IsSame(run, frames, i, pack, place))
            {
                return false;
            }
        }

        for (ulong e = 0; e < (ulong)run.EntryCount; e++)
        {
            IndexEntry entry = run.EntryAt(e);
            run.FrameAt(entry.Frame, out uint pack);
            if (places[pack] is { } place &&
                !Names(place.Run, entry with { Frame = entry.Frame - frames.First(pack) + place.Frames.First(place.Number) }))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsSame(IndexRun run, PackFrames frames, uint number, in PackEntry pack, in PackPlace place)
    {
        PackEntry other = place.Run.PackAt(place.Number);
        if ((pack with { FirstSalt = 0 }) != (other with { FirstSalt = 0 }) || frames.Count(number) != place.Frames.Count(place.Number))
        {
            return false;
        }

        for (uint s = 0; s < pack.SaltCount; s++)
        {
            if (run.SaltAt(pack.FirstSalt + s) != place.Run.SaltAt(other.FirstSalt + s))
            {
                return false;
            }
        }

        for (uint f = 0; f < frames.Count(number); f++)
        {
            if (run.FrameAt(frames.First(number) + f, out _) != place.Run.FrameAt(place.Frames.First(place.Number) + f, out _))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Names(IndexRun run, in IndexEntry wanted)
    {
        for (long at = run.Find(wanted.Prefix); at >= 0 && at < run.EntryCount; at++)
        {
            IndexEntry entry = run.EntryAt((ulong)at);
            if (entry == wanted)
            {
                return true;
            }

            if (entry.Prefix != wanted.Prefix)
            {
                return false;
            }
        }

        return false;
    }
}
