using BackupIQ.Primitives;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Packs;

public sealed class NativeBufferTests
{
    [Fact]
    public void RoomIsAsLongAsWasAskedAndHoldsWhatIsPutIntoIt()
    {
        using NativeBuffer buffer = new();
        Memory<byte> room = buffer.Room(100_000);
        room.Span.Fill(7);
        room.Length.ShouldBe(100_000);
        buffer.GetSpan().ToArray().ShouldAllBe(static value => value == 7);
        buffer.Room(10).Length.ShouldBe(10);
        buffer.Length.ShouldBe(100_000);
    }

    [Fact]
    public void WhatWasGivenUpIsThereAgainWhenThereMustBeRoom()
    {
        using NativeBuffer buffer = new();
        buffer.Room(5000);
        buffer.GiveUp();
        buffer.Length.ShouldBe(0);
        buffer.GetSpan().IsEmpty.ShouldBeTrue();
        buffer.Room(6000).Span.Fill(1);
        buffer.Length.ShouldBe(6000);
    }

    [Fact]
    public void StreamsReadIntoItAndWriteFromIt()
    {
        using NativeBuffer buffer = new();
        Memory<byte> room = buffer.Room(3);
        using MemoryStream from = new([1, 2, 3]);
        from.Read(room.Span).ShouldBe(3);
        using MemoryStream to = new();
        to.Write(room.Span);
        to.ToArray().ShouldBe([1, 2, 3]);
        using System.Buffers.MemoryHandle pinned = room[1..].Pin();
        Should.Throw<ArgumentOutOfRangeException>(() => buffer.Pin(4));
    }
}
