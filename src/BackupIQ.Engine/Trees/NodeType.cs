namespace BackupIQ.Engine.Trees;

/// <summary>What a node of a tree is. The numbers are written to repositories and never change (docs/format.md, Trees).</summary>
public enum NodeType : byte
{
    File = 1,
    Directory = 2,
    SymbolicLink = 3,
    BlockDevice = 4,
    CharacterDevice = 5,
    Fifo = 6,
    Socket = 7,
}
