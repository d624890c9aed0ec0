using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Dump;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>What a dump has, and what of it is loaded.</summary>
public sealed class DumpTocTests
{
    [Theory]
    [InlineData(12)]
    [InlineData(13)]
    [InlineData(14)]
    [InlineData(15)]
    [InlineData(16)]
    public void EntriesAreReadOfEveryVersion(int minor)
    {
        IReadOnlyList<DumpTocEntry> entries = Shop(minor);
        DumpTocEntry data = entries.Single(static entry => entry is { Kind: "TABLE DATA", Tag: "orders" });
        data.File.ShouldBe("11.dat");
        data.Schema.ShouldBe("public");
        data.Oid.ShouldBe(16385);
        data.Owner.ShouldBe("ci");
        data.DependsOn.ShouldBe([4]);
        entries[0].Schema.ShouldBeNull();
        entries[0].File.ShouldBeNull();
        entries.Count.ShouldBe(15);
    }

    [Fact]
    public void AVersionThatIsNotKnownIsNoDamageAndATornOneIs()
    {
        byte[] toc = new DumpTocBuilder(14).Add("TABLE", "t").Build();
        byte[] newer = [.. toc];
        newer[6] = 17;
        DumpToc.Read(newer).ShouldBeNull();
        for (int length = 0; length < toc.Length; length++)
        {
            Should.Throw<BackupIQException>(() => DumpToc.Read(toc.AsSpan(0, length))).Code.ShouldBe(ErrorCodes.CorruptData);
        }

        // pg_restore would open it.
        Should.Throw<BackupIQException>(static () => DumpToc.Read(new DumpTocBuilder(14).Add("TABLE DATA", "t", file: "../../etc/passwd").Build())).Code.ShouldBe(ErrorCodes.CorruptData);

        // A custom archive is none.
        byte[] other = [.. toc];
        other[10] = 1;
        Should.Throw<BackupIQException>(() => DumpToc.Read(other)).Code.ShouldBe(ErrorCodes.CorruptData);
    }

    [Fact]
    public void ATableComesWithWhatIsItsAndWhatItNeeds()
    {
        DumpSelection orders = DumpSelection.Of(Shop(14), ["orders"], []);
        Tags(orders).ShouldBe(["ENCODING ENCODING", "TYPE state", "TABLE orders", "SEQUENCE orders_id_seq", "SEQUENCE OWNED BY orders_id_seq", "DEFAULT orders id", "TABLE DATA orders", "SEQUENCE SET orders_id_seq", "CONSTRAINT orders orders_pkey", "ACL TABLE orders"]);
        orders.Files.ShouldBe(["11.dat"]);
        orders.LeftOut.ShouldBe(["fk constraint orders orders_customer_fkey"]);
        orders.Roles().Order(StringComparer.Ordinal).ShouldBe(["Odd \"role", "ci", "reader"]);
        orders.ToList().ShouldBe("1;\n2;\n4;\n5;\n6;\n7;\n11;\n12;\n13;\n15;\n");

        // With the other table its foreign key is there.
        DumpSelection both = DumpSelection.Of(Shop(14), ["public.orders", "customers"], []);
        both.LeftOut.ShouldBeEmpty();
        both.Files.ShouldBe(["10.dat", "11.dat"]);
        Tags(both).ShouldContain("FK CONSTRAINT orders orders_customer_fkey");

        // A sequence alone is nobody's.
        Tags(DumpSelection.Of(Shop(14), ["orders_id_seq"], [])).ShouldBe(["ENCODING ENCODING", "SEQUENCE orders_id_seq", "SEQUENCE SET orders_id_seq"]);
        DumpSelection.All(Shop(14)).Entries.Count().ShouldBe(15);
    }

    [Fact]
    public void WhatTheDumpDoesNotHaveIsTold()
    {
        IReadOnlyList<DumpTocEntry> entries = DumpToc.Read(new DumpTocBuilder(14).Add("TABLE", "t", "a").Add("TABLE", "t", "b").Build())!;
        Should.Throw<BackupIQException>(() => DumpSelection.Of(entries, ["t"], [])).Message.ShouldContain("a.t, b.t");
        DumpSelection.Of(entries, ["b.t"], []).Entries.Single().Id.ShouldBe(2);
        Should.Throw<BackupIQException>(() => DumpSelection.Of(entries, ["missing"], [])).Code.ShouldBe(ErrorCodes.PathNotFound);
        Should.Throw<BackupIQException>(() => DumpSelection.Of(entries, [], ["c"])).Code.ShouldBe(ErrorCodes.PathNotFound);
        DumpSelection.Of(entries, [], ["a"]).Entries.Single().Id.ShouldBe(1);
    }

    private static string[] Tags(DumpSelection selection) => [.. selection.Entries.Select(static entry => $"{entry.Kind} {entry.Tag}")];

    private static IReadOnlyList<DumpTocEntry> Shop(int minor) => DumpToc.Read(new DumpTocBuilder(minor)
        .Add("ENCODING", "ENCODING", schema: null)
        .Add("TYPE", "state")
        .Add("TABLE", "customers")
        .Add("TABLE", "orders", on: 2)
        .Add("SEQUENCE", "orders_id_seq")
        .Add("SEQUENCE OWNED BY", "orders_id_seq", on: 5)
        .Add("DEFAULT", "orders id", on: [5, 4])
        .Add("VIEW", "late", on: 4)
        .Add("BLOBS", "BLOBS", schema: null, file: "blobs.toc")
        .Add("TABLE DATA", "customers", file: "10.dat", on: 3)
        .Add("TABLE DATA", "orders", file: "11.dat", on: 4)
        .Add("SEQUENCE SET", "orders_id_seq", on: 5)
        .Add("CONSTRAINT", "orders orders_pkey", on: 4)
        .Add("FK CONSTRAINT", "orders orders_customer_fkey", on: [4, 3])
        .Add("ACL", "TABLE orders", definition: "GRANT SELECT ON TABLE public.orders TO reader;\nGRANT ALL ON TABLE public.orders TO \"Odd \"\"role\" WITH GRANT OPTION;\nGRANT SELECT ON TABLE public.orders TO PUBLIC;\n", on: 4)
        .Build())!;
}
