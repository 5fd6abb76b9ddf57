global using unsafe SystemRead = delegate*<Irpwright.Guest.Processor.Cpu*, int, ulong*, Irpwright.Guest.Processor.StopReason>;
global using unsafe SystemWrite = delegate*<Irpwright.Guest.Processor.Cpu*, int, ulong, Irpwright.Guest.Processor.StopReason>;

using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// mov with control, debug and segment registers, rdmsr wrmsr, rdpmc, smsw str sldt sgdt sidt, swapgs, rdfsbase and its relatives: what a register
/// holds, and what may be written to it, is in <see cref="SystemRegisters"/>.
/// </summary>
static unsafe class SystemMove<TMode> where TMode : struct, IMode
{
    /// <summary>The register's number is in <see cref="Op.Extra"/>, the function in <see cref="Op.Target"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Read<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* to = RegisterOrMemory.Locate<TMode>(cpu, op, 2, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        StopReason reason = ((SystemRead)op->Target)(cpu, op->Extra, &cpu->Temporary);
        if (reason != StopReason.None) return Refuse(cpu, op, reason);
        if (op->IsMemory) W16.Store(to, cpu->Temporary);
        else TWidth.StoreRegister(to, cpu->Temporary);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Write<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        StopReason reason = ((SystemWrite)op->Target)(cpu, op->Extra, TWidth.Load((byte*)cpu + op->Source));
        if (reason != StopReason.None) return Refuse(cpu, op, reason);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ReadModelSpecific(Cpu* cpu, Op* op)
    {
        StopReason reason = SystemRegisters.ReadModelSpecific(cpu, (int)cpu->Rcx, &cpu->Temporary);
        if (reason != StopReason.None) return Refuse(cpu, op, reason);
        cpu->Rax = (uint)cpu->Temporary;
        cpu->Rdx = cpu->Temporary >> 32;
        return TMode.Next(cpu, op + 1);
    }

    // Nobody can start a counter here, so each that there is stands at zero.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ReadCounter(Cpu* cpu, Op* op)
    {
        if (!SystemRegisters.HasCounter((uint)cpu->Rcx)) return Refuse(cpu, op, StopReason.Fault);
        cpu->Rax = cpu->Rdx = 0;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* WriteModelSpecific(Cpu* cpu, Op* op)
    {
        StopReason reason = SystemRegisters.WriteModelSpecific(cpu, (int)cpu->Rcx, cpu->Rdx << 32 | (uint)cpu->Rax);
        if (reason != StopReason.None) return Refuse(cpu, op, reason);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>sgdt and sidt: two bytes of limit, eight of base.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreTable(Cpu* cpu, Op* op)
    {
        byte* to = Far.Locate<TMode>(cpu, op, 10, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(ushort*)to = (ushort)op->Immediate;
        *(ulong*)(to + 2) = cpu->CodeBase + (op->Immediate >> 16);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SwapBases(Cpu* cpu, Op* op)
    {
        (cpu->GsBase, cpu->UserGsBase) = (cpu->UserGsBase, cpu->GsBase);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A fault here is a general protection fault, which has no address.</summary>
    static Op* Refuse(Cpu* cpu, Op* op, StopReason reason) =>
        reason == StopReason.Fault ? Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None) : Stop.Because(cpu, op, reason);

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Rdmsr:
                chain.Add(instruction).Handler = &ReadModelSpecific;
                return true;
            case Mnemonic.Wrmsr:
                chain.Add(instruction).Handler = &WriteModelSpecific;
                return true;
            case Mnemonic.Rdpmc:
                chain.Add(instruction).Handler = &ReadCounter;
                return true;
            case Mnemonic.Sgdt or Mnemonic.Sidt:
                ref Op store = ref chain.AddWithMemory<TMode>(instruction);
                store.Immediate = instruction.Mnemonic == Mnemonic.Sgdt ? DescriptorTables.Global : DescriptorTables.Interrupt;
                store.Handler = &StoreTable;
                return true;
            case Mnemonic.Swapgs:
                chain.Add(instruction).Handler = &SwapBases;
                return true;
            case Mnemonic.Smsw: return EmitRead(chain, instruction, 0, &SystemRegisters.ReadControl);
            case Mnemonic.Str: return EmitRead(chain, instruction, SystemRegisters.TaskRegister, &SystemRegisters.ReadSelector);
            case Mnemonic.Sldt: return EmitRead(chain, instruction, SystemRegisters.LocalTable, &SystemRegisters.ReadSelector);
            case Mnemonic.Rdfsbase: return EmitRead(chain, instruction, 0, &SystemRegisters.ReadBase);
            case Mnemonic.Rdgsbase: return EmitRead(chain, instruction, 1, &SystemRegisters.ReadBase);
            case Mnemonic.Wrfsbase: return EmitWrite(chain, instruction, 0, 0, &SystemRegisters.WriteBase);
            case Mnemonic.Wrgsbase: return EmitWrite(chain, instruction, 0, 1, &SystemRegisters.WriteBase);
            case Mnemonic.Mov: return TryEmitMove(chain, instruction);
            default: return false;
        }
    }

    static bool TryEmitMove(Chain chain, in Instruction instruction)
    {
        Register to = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register : Register.None, from = instruction.Op1Register;
        if (from.IsCR() && from != Register.CR8) return EmitRead(chain, instruction, from - Register.CR0, &SystemRegisters.ReadControl);
        if (from.IsDR()) return EmitRead(chain, instruction, from - Register.DR0, &SystemRegisters.ReadDebug);
        if (from.IsSegmentRegister()) return EmitRead(chain, instruction, from - Register.ES, &SystemRegisters.ReadSelector);
        if (to.IsCR() && to != Register.CR8) return EmitWrite(chain, instruction, 1, to - Register.CR0, &SystemRegisters.WriteControl);
        if (to.IsDR()) return EmitWrite(chain, instruction, 1, to - Register.DR0, &SystemRegisters.WriteDebug);
        return false;
    }

    static bool EmitRead(Chain chain, in Instruction instruction, int number, SystemRead read)
    {
        ref Op op = ref chain.AddWithMemory<TMode>(instruction);
        if (!op.IsMemory) op.Base = OperandEncoding.OffsetOf(instruction.Op0Register);
        op.Extra = (byte)number;
        op.Target = (Op*)read;
        op.Handler = op.IsMemory ? &Read<W16> : instruction.Op0Register.GetSize() switch { 2 => &Read<W16>, 4 => &Read<W32>, _ => &Read<W64> };
        return true;
    }

    static bool EmitWrite(Chain chain, in Instruction instruction, int operand, int number, SystemWrite write)
    {
        ref Op op = ref chain.Add(instruction);
        Register source = instruction.GetOpRegister(operand);
        op.Source = OperandEncoding.OffsetOf(source);
        op.Extra = (byte)number;
        op.Target = (Op*)write;
        op.Handler = source.GetSize() == 4 ? &Write<W32> : &Write<W64>;
        return true;
    }
}

/// <summary>The tables that gdtr and idtr lead to. There are none: nothing is mapped there, and who looks into one is told so.</summary>
static class DescriptorTables
{
    const ulong GlobalOffset = 0xF_D000, InterruptOffset = 0xF_E000;
    const ushort GlobalLimit = 0x57, InterruptLimit = 0xFFF;

    /// <summary>Limit, and above it the offset of the base in the machine's slice.</summary>
    public const ulong Global = GlobalOffset << 16 | GlobalLimit, Interrupt = InterruptOffset << 16 | InterruptLimit;

    /// <summary>What lies at an offset in the machine's slice; null for anything else.</summary>
    public static string? Describe(ulong offset) =>
        offset - GlobalOffset <= GlobalLimit ? "the global descriptor table"
        : offset - InterruptOffset <= InterruptLimit ? "the interrupt descriptor table" : null;
}

/// <summary>The registers of a processor that belong to the system.</summary>
/// <remarks>
/// They hold what an idle Windows processor holds. What only stores a value can be written; a write that would change how the processor
/// works stops as not modelled, and one that no processor takes is a general protection fault.
/// </remarks>
static unsafe class SystemRegisters
{
    public const int TaskRegister = 6, LocalTable = 7;

    const ulong Protection = 1 << 0, Emulation = 1 << 2, TaskSwitched = 1 << 3, ExtensionType = 1 << 4, NumericError = 1 << 5;
    const ulong WriteProtect = 1 << 16, AlignmentMask = 1 << 18, NotWriteThrough = 1 << 29, CacheDisable = 1 << 30, Paging = 1UL << 31;
    const ulong DebuggingExtensions = 1 << 3, PageSizeExtensions = 1 << 4, PhysicalExtensions = 1 << 5, GlobalPages = 1 << 7;
    const ulong FastSave = 1 << 9, VectorExceptions = 1 << 10, SegmentBases = 1 << 16;

    /// <summary>cr0 and cr4 as Windows sets them, as far as <see cref="Identification"/> announces what they switch.</summary>
    public const ulong InitialCr0 = Paging | AlignmentMask | WriteProtect | NumericError | ExtensionType | 2 | Protection;
    public const ulong InitialCr4 =
        SegmentBases | VectorExceptions | FastSave | GlobalPages | PhysicalExtensions | PageSizeExtensions | DebuggingExtensions;
    public const ulong InitialDr6 = 0xFFFF0FF0, InitialDr7 = 0x400;

    // Where the page tables would be; there are none.
    const ulong Cr3 = 0x001A_D000;

    /// <summary>Writes to pages that are only readable succeed.</summary>
    public static bool IgnoresWriteProtection(Cpu* cpu) => (cpu->Cr0 & WriteProtect) == 0;

    public static StopReason ReadControl(Cpu* cpu, int number, ulong* value)
    {
        *value = number switch { 0 => cpu->Cr0, 2 => cpu->Cr2, 3 => Cr3, _ => cpu->Cr4 };
        return number is 0 or 2 or 3 or 4 ? StopReason.None : StopReason.IllegalInstruction;
    }

    public static StopReason WriteControl(Cpu* cpu, int number, ulong value)
    {
        switch (number)
        {
            case 0:
                bool invalid = value >> 32 != 0 || (value & (Paging | Protection)) != (Paging | Protection)
                    || (value & (NotWriteThrough | CacheDisable)) == NotWriteThrough;
                if (invalid) return StopReason.Fault;
                if ((value & (Emulation | TaskSwitched)) != 0) return StopReason.Unimplemented;
                cpu->Cr0 = value | ExtensionType;
                return StopReason.None;
            case 2:
                cpu->Cr2 = value;
                return StopReason.None;
            case 3:
                return value == Cr3 ? StopReason.None : StopReason.Unimplemented;
            case 4:
                // Switching global pages off and on is how all translations are flushed.
                if (((value ^ cpu->Cr4) & ~(GlobalPages | DebuggingExtensions)) != 0) return StopReason.Unimplemented;
                cpu->Cr4 = value;
                return StopReason.None;
            default:
                return StopReason.IllegalInstruction;
        }
    }

    public static StopReason ReadDebug(Cpu* cpu, int number, ulong* value)
    {
        if (number is 4 or 5 && (cpu->Cr4 & DebuggingExtensions) != 0) return StopReason.IllegalInstruction;
        *value = cpu->Debug[number is 4 or 5 ? number + 2 : number];
        return StopReason.None;
    }

    public static StopReason WriteDebug(Cpu* cpu, int number, ulong value)
    {
        if (number is 4 or 5)
        {
            if ((cpu->Cr4 & DebuggingExtensions) != 0) return StopReason.IllegalInstruction;
            number += 2;
        }
        const ulong enabled = 0xFF, detect = 1 << 13;
        if (number >= 6 && value >> 32 != 0) return StopReason.Fault;
        // A breakpoint would have to be hit.
        if (number == 7 && (value & (enabled | detect)) != 0) return StopReason.Unimplemented;
        cpu->Debug[number] = number switch { 6 => value & 0xE00F | InitialDr6, 7 => value & 0xFFFF_0300 | InitialDr7, _ => value };
        return StopReason.None;
    }

    /// <summary>Selectors of 64-bit Windows in kernel mode: es cs ss ds fs gs, task register, local descriptor table.</summary>
    public static StopReason ReadSelector(Cpu* cpu, int number, ulong* value)
    {
        *value = number switch { 1 => 0x10u, 2 => 0x18u, 4 => 0x53u, TaskRegister => 0x40u, LocalTable => 0u, _ => 0x2Bu };
        return StopReason.None;
    }

    public static StopReason ReadBase(Cpu* cpu, int number, ulong* value)
    {
        *value = number == 0 ? cpu->FsBase : cpu->GsBase;
        return StopReason.None;
    }

    public static StopReason WriteBase(Cpu* cpu, int number, ulong value)
    {
        if ((long)(value << 16) >> 16 != (long)value) return StopReason.Fault;
        if (number == 0) cpu->FsBase = value;
        else cpu->GsBase = value;
        return StopReason.None;
    }

    /// <summary>rdpmc: four counters that can be programmed and three of fixed purpose, as most processors have them.</summary>
    public static bool HasCounter(uint number) => number < 4 || number - 0x4000_0000 < 3;

    const int TimeStamp = 0x10, ApicBase = 0x1B, MicrocodeVersion = 0x8B, SysenterSelector = 0x174, SysenterStack = 0x175, SysenterEntry = 0x176;
    const int DebugControl = 0x1D9, PageAttributes = 0x277, ExtendedFeatures = unchecked((int)0xC000_0080);
    const int SyscallSelectors = ExtendedFeatures + 1, SyscallEntry = ExtendedFeatures + 2, CompatibleEntry = ExtendedFeatures + 3;
    const int SyscallMask = ExtendedFeatures + 4, FsBase = unchecked((int)0xC000_0100), GsBase = FsBase + 1, UserGsBase = FsBase + 2;
    const int TimeStampOwner = FsBase + 3;

    /// <summary>rdmsr. The entries of system calls are kernel code, of which there is none to point to.</summary>
    public static StopReason ReadModelSpecific(Cpu* cpu, int number, ulong* value)
    {
        switch (number)
        {
            case TimeStamp: *value = Timestamp(cpu); break;
            case ApicBase: *value = 0xFEE0_0900; break;
            case MicrocodeVersion or SysenterSelector or SysenterStack or SysenterEntry or DebugControl: *value = 0; break;
            case PageAttributes: *value = 0x0007_0106_0007_0106; break;
            case ExtendedFeatures: *value = 0xD01; break;
            case SyscallSelectors: *value = 0x0023_0010_0000_0000; break;
            case SyscallMask: *value = 0x4700; break;
            case FsBase: *value = cpu->FsBase; break;
            case GsBase: *value = cpu->GsBase; break;
            case UserGsBase: *value = cpu->UserGsBase; break;
            case TimeStampOwner: *value = cpu->Number; break;
            case SyscallEntry or CompatibleEntry: return StopReason.Unimplemented;
            default: return StopReason.Fault;
        }
        return StopReason.None;
    }

    public static StopReason WriteModelSpecific(Cpu* cpu, int number, ulong value)
    {
        switch (number)
        {
            case FsBase or GsBase: return WriteBase(cpu, number - FsBase, value);
            case UserGsBase:
                cpu->UserGsBase = value;
                return StopReason.None;
            case MicrocodeVersion: return StopReason.None; // what one does before reading it
            case TimeStamp: return StopReason.Unimplemented;
        }
        ulong current;
        StopReason reason = ReadModelSpecific(cpu, number, &current);
        return reason != StopReason.None || value == current ? reason : StopReason.Unimplemented;
    }

    public static ulong Timestamp(Cpu* cpu) => cpu->OnTimestamp != null ? cpu->OnTimestamp(cpu) : (ulong)(long.MaxValue - cpu->Budget);
}
