namespace Irpwright.Verification.Rules;

/// <summary>
/// What rules about single accesses have in common. Their events come only from a machine with <see cref="MachineOptions.ChecksMemory"/>.
/// </summary>
abstract class MemoryRule : Rule
{
    /// <summary>The page of Driver Verifier's option that gives blocks pages of their own.</summary>
    protected static string SpecialPool => Pages.Devtest("special-pool");

    /// <summary>The instruction itself, whatever routine of the kernel's choice it runs in.</summary>
    protected CodePlace PlaceOf(ulong instruction) => new(Machine, default, 0, instruction);

    /// <summary>Code as a report names it, with its line where debug information tells.</summary>
    protected string Code(ulong address)
    {
        if (address == 0) return "the kernel";
        string? line = Machine.BugChecks.LineAt?.Invoke(address);
        return line is null ? $"{PlaceOf(address)}" : $"{PlaceOf(address)} [{line}]";
    }

    /// <summary>The IRP with an address, whether the rules have seen it or not.</summary>
    protected IrpName NameOf(ulong irp) => Tracker.At(irp)?.Name ?? IrpName.Unseen(irp);

    /// <summary>"the block 'Tag1', 64 bytes at ..., allocated by driver!Routine".</summary>
    protected string Describe(in PoolBlock block) => block.Owner == 0
        ? $"the kernel's pool block {Pool.TagText(block.Tag)}, {block.Size} bytes at {Format.Address(block.Address)}"
        : $"the pool block {Pool.TagText(block.Tag)}, {block.Size} bytes at {Format.Address(block.Address)}, which {Code(block.Owner)} allocated";
}
