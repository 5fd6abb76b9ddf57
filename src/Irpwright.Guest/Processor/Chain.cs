using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>A chain of operations under construction.</summary>
sealed class Chain
{
    public readonly record struct Entry(ulong Rip, int Index);

    /// <summary>A branch whose target is found when it is first taken.</summary>
    public readonly record struct Link(int Source, ulong Target);

    Op[] operations = new Op[256];
    int count;
    readonly List<Entry> entries = [];
    readonly List<Link> links = [];
    ulong codeBase;

    public ReadOnlySpan<Op> Operations => operations.AsSpan(0, count);
    public ReadOnlySpan<Entry> Entries => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(entries);
    public ReadOnlySpan<Link> Links => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(links);

    public void Begin(ulong codeBase)
    {
        this.codeBase = codeBase;
        count = 0;
        entries.Clear();
        links.Clear();
    }

    /// <summary>From here on operations belong to this instruction.</summary>
    public void BeginInstruction(in Instruction instruction) => entries.Add(new Entry(instruction.IP, count));

    /// <summary>Appends an operation. The reference is good until the next one is appended.</summary>
    public ref Op Add(in Instruction instruction)
    {
        ref Op op = ref Add(instruction.IP);
        op.Length = (byte)instruction.Length;
        return ref op;
    }

    /// <summary>The operation added last.</summary>
    public ref Op Last => ref operations[count - 1];

    ref Op Add(ulong rip)
    {
        if (count == operations.Length) Array.Resize(ref operations, 2 * count);
        ref Op op = ref operations[count++];
        op = new Op { Offset = (uint)(rip - codeBase), Base = Cpu.ZeroOffset, Index = Cpu.ZeroOffset };
        return ref op;
    }

    /// <summary>The operation just added branches to an address.</summary>
    public void LinkTo(ulong target) => links.Add(new Link(count - 1, target));

    /// <summary>Ends the chain by going on elsewhere.</summary>
    public unsafe void JumpTo(ulong target, Handler jump)
    {
        Add(target).Handler = jump;
        LinkTo(target);
    }
}
