using System.IO.Compression;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>Bytes of a real server: PostgreSQL 15.18, made with initdb --data-checksums.</summary>
internal static class PostgresBytes
{
    private const string PageText =
        "H4sIAAAAAAACA+3TO08iURwF8COIDioK4gNEFHziG7faGEIIIYQQQ4gxhhhj+AiWlpSWWw7MwFBuuR+Bj0C5peWWW265l+zJTuJl9k6/9zQc5/8Dk0kOABgLsUi8AbzDSCAzmxGP8O4UMHKKGDolvD" +
        "plNJ0Kck4VcGr4Pqjj2+AWb4MG2oMm8oM7YHCPcf8Bw34LL/1HlPpPiPaf8W63MbJvMLQL6NhFtO0SPttlRO0KflhVjKwaTKuOF+sWNauBjNXEz94dRr17fOk9oN1rId97BHpPGHefMey20eneoN0t" +
        "oNQtItMt4ZdZxtis4KtZRcesoWXWkTdvYZgN6Ojo6Ojo6Ojo6Ojo6Ojo6Ojo6Ojo6PzPuc7++Qzx708IIGAkxCew+fo3krumuxZ93WWSy9PlRY+7THJXdFeix1wmuUu6S9FXXCa5C7oL0SMuk9w53b" +
        "noiy6T3BndmehhwT7eT3k/FX1+yvs64f1k8mzKe8rxnhM9OOX/H/N+PPmtVzkf/RH90eS7Mpd+/5D+cNJlLvkD+gPR92Uu+X36fdGzMpf8Hv2e6Lsyl3yWfvI4LXPJZ+gzoqdkLvld+l3Rk/947zt0" +
        "O4r9pOnSiv1s020r9pOiSyn2s0W3pdhPki6p2E+CLqHYzybdpsd+Nnjf8NjPOu/rHvtZ433NYz9x3uM+97NKv+pzPzH6mM/9ROmjPvezQr/icz/L9Ms+9xOhj/jczxL9ks/9LNIvKvazQLeg2E+YLq" +
        "zYj0FnKPYzTzev2M8c3ZxiPyG6kGI/s3Sziv0E6YIe+wnwHvDYzwzvM9zPb+8shAAAIAAA";

    private const string ControlText =
        "H4sIAAAAAAACA/P2UHriqcORLcLKwKBazsvDxgAB3UAxEN3BJcgLojmgNCMSBgEjRSgjASF2hglTHcw8GDCE6nvBzEA0gJmVAnIPEHNB+Q5QmgNKt18zcmRQALGADlGAaAWpATHPsEMUwtwm5DpFbX" +
        "fUb57f/Vo6k7fO3jGB9U3zbSfDqzZLS1hLWGT/P7HVOsswCkbBKBgFo2AUjIJRMApGwSgYBaNgFIyCUTAKRsEoGAWjYBSMglEwCkbBKBgFo2AUDHIAAN14dmoAIAAA";

    /// <summary>The first page of a table with 50 rows; its checksum as block 0 is 19987, as block 131072 it would be 19985 (pageinspect's page_checksum).</summary>
    public static byte[] Page => Unpack(PageText);

    /// <summary>global/pg_control of the same server.</summary>
    public static byte[] Control => Unpack(ControlText);

    private static byte[] Unpack(string text)
    {
        using GZipStream gzip = new(new MemoryStream(Convert.FromBase64String(text)), CompressionMode.Decompress);
        using MemoryStream content = new();
        gzip.CopyTo(content);
        return content.ToArray();
    }
}
