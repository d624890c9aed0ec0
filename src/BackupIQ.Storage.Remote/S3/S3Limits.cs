namespace BackupIQ.Storage.Remote.S3;

/// <summary>Sizes at which an upload changes its ways.</summary>
/// <param name="Whole">Up to this size an object is put in one request, which the server accepts or refuses as a whole.</param>
/// <param name="Part">Of larger ones, the bytes of a part; more where there would be too many parts.</param>
/// <param name="PartsAtOnce">Parts of one object on their way at once.</param>
internal sealed record S3Limits(long Whole, long Part, int PartsAtOnce)
{
    private const int MostParts = 10_000;

    /// <summary>
    /// 64 MiB: packs of the common size go in one conditional request. 16 MiB and four: the loss of a part costs little, and one slow connection
    /// does not hold up a large pack.
    /// </summary>
    public static readonly S3Limits Default = new(64L << 20, 16L << 20, 4);

    public long PartSizeFor(long length) => Math.Max(Part, (length + MostParts - 1) / MostParts);
}
