using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>nop and hints, single flags, fences, pause, cr8, rdtsc, cpuid, mxcsr.</summary>
static unsafe class Control<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Nothing(Cpu* cpu, Op* op) => TMode.Next(cpu, op + 1);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Fence(Cpu* cpu, Op* op)
    {
        Interlocked.MemoryBarrier();
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Pause(Cpu* cpu, Op* op)
    {
        if (cpu->OnPause == null) return TMode.Next(cpu, op + 1);
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnPause(cpu);
        if (cpu->Stop != StopReason.None) return null;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SetCarry(Cpu* cpu, Op* op)
    {
        cpu->Flags.SetCarry(op->Immediate != 0);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ComplementCarry(Cpu* cpu, Op* op)
    {
        cpu->Flags.SetCarry(!cpu->Flags.Carry);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SetSystemFlag(Cpu* cpu, Op* op)
    {
        cpu->SystemFlags |= (uint)op->Immediate;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ClearSystemFlag(Cpu* cpu, Op* op)
    {
        cpu->SystemFlags &= ~(uint)op->Immediate;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadFlags(Cpu* cpu, Op* op)
    {
        *((byte*)&cpu->Rax + 1) = (byte)cpu->Rflags;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreFlags(Cpu* cpu, Op* op)
    {
        cpu->Flags.Set(*((byte*)&cpu->Rax + 1) | (cpu->Flags.Overflow ? Rflag.Overflow : 0));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ReadIrql(Cpu* cpu, Op* op)
    {
        *(ulong*)((byte*)cpu + op->Destination) = *cpu->Irql;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Lowering the IRQL lets the kernel deliver what waited for it, which may run guest code on this processor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* WriteIrql(Cpu* cpu, Op* op)
    {
        ulong value = *(ulong*)((byte*)cpu + op->Source);
        if (value > 15) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        if (cpu->OnIrqlWrite == null)
        {
            *cpu->Irql = (byte)value;
            return TMode.Next(cpu, op + 1);
        }
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnIrqlWrite(cpu, (byte)value);
        if (cpu->Stop != StopReason.None) return null;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ReadTimestamp(Cpu* cpu, Op* op)
    {
        ulong time = cpu->OnTimestamp != null ? cpu->OnTimestamp(cpu) : (ulong)(long.MaxValue - cpu->Budget);
        cpu->Rax = (uint)time;
        cpu->Rdx = time >> 32;
        if (op->Immediate != 0) cpu->Rcx = 0; // rdtscp: TSC_AUX
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Identify(Cpu* cpu, Op* op)
    {
        Identification.Query(cpu);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadMxcsr(Cpu* cpu, Op* op)
    {
        byte* from = Far.Locate<TMode>(cpu, op, 4, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        cpu->Mxcsr = *(uint*)from;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreMxcsr(Cpu* cpu, Op* op)
    {
        byte* to = Far.Locate<TMode>(cpu, op, 4, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(uint*)to = cpu->Mxcsr;
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        Handler handler = Select(instruction, out ulong constant);
        if (handler == null) return false;
        bool hasMemory = instruction.Mnemonic is Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr;
        ref Op op = ref (hasMemory ? ref chain.AddWithMemory<TMode>(instruction) : ref chain.Add(instruction));
        op.Handler = handler;
        op.Immediate = constant;
        if (instruction.Mnemonic == Mnemonic.Mov)
        {
            if (instruction.Op0Register == Register.CR8) op.Source = OperandEncoding.OffsetOf(instruction.Op1Register);
            else op.Destination = OperandEncoding.OffsetOf(instruction.Op0Register);
        }
        return true;
    }

    static Handler Select(in Instruction instruction, out ulong constant)
    {
        constant = instruction.Mnemonic switch
        {
            Mnemonic.Stc or Mnemonic.Rdtscp => 1,
            Mnemonic.Cld or Mnemonic.Std => Rflag.Direction,
            Mnemonic.Cli or Mnemonic.Sti => Rflag.Interrupt,
            _ => 0u,
        };
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Nop or Mnemonic.Fnop or Mnemonic.Endbr64 or Mnemonic.Endbr32 or Mnemonic.Reservednop
                or Mnemonic.Clflush or Mnemonic.Wbinvd or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2
                or Mnemonic.Prefetchnta or Mnemonic.Prefetchw or Mnemonic.Prefetch:
                return &Nothing;
            case Mnemonic.Pause: return &Pause;
            case Mnemonic.Mfence or Mnemonic.Lfence or Mnemonic.Sfence: return &Fence;
            case Mnemonic.Clc or Mnemonic.Stc: return &SetCarry;
            case Mnemonic.Cmc: return &ComplementCarry;
            case Mnemonic.Cld or Mnemonic.Cli: return &ClearSystemFlag;
            case Mnemonic.Std or Mnemonic.Sti: return &SetSystemFlag;
            case Mnemonic.Lahf: return &LoadFlags;
            case Mnemonic.Sahf: return &StoreFlags;
            case Mnemonic.Mov when instruction.Op1Register == Register.CR8: return &ReadIrql;
            case Mnemonic.Mov when instruction.Op0Register == Register.CR8: return &WriteIrql;
            case Mnemonic.Rdtsc or Mnemonic.Rdtscp: return &ReadTimestamp;
            case Mnemonic.Cpuid: return &Identify;
            case Mnemonic.Ldmxcsr: return &LoadMxcsr;
            case Mnemonic.Stmxcsr: return &StoreMxcsr;
            default: return null;
        }
    }
}

/// <summary>What <c>cpuid</c> answers: the same on every host, so that a driver takes the same path everywhere.</summary>
/// <remarks>
/// A plain x64 processor under a hypervisor: SSE2, cmpxchg16b, no SSE3 and later, no AVX, no TSX. popcnt, lzcnt and tzcnt work but are
/// not announced.
/// </remarks>
static unsafe class Identification
{
    // Leaf 1, edx: FPU TSC MSR PAE CX8 APIC SEP MTRR PGE CMOV PAT CLFSH FXSR SSE SSE2. ecx: CX16 and "a hypervisor is present".
    const uint Features = 0x0788_AB71, MoreFeatures = 1u << 13 | 1u << 31;
    // Leaf 80000001, edx: SYSCALL NX RDTSCP long mode; ecx: lahf in 64-bit mode.
    const uint ExtendedFeatures = 1u << 11 | 1u << 20 | 1u << 27 | 1u << 29, MoreExtendedFeatures = 1;

    public static void Query(Cpu* cpu)
    {
        (uint a, uint b, uint c, uint d) = (uint)cpu->Rax switch
        {
            0 => (1u, Text("Genu"), Text("ntel"), Text("ineI")),
            1 => (0x0000_06F2u, 0x0001_0800u, MoreFeatures, Features),
            0x4000_0000 => (0x4000_0000u, Text("Irpw"), Text("righ"), Text("t   ")),
            0x8000_0000 => (0x8000_0008u, 0u, 0u, 0u),
            0x8000_0001 => (0u, 0u, MoreExtendedFeatures, ExtendedFeatures),
            0x8000_0002 => (Text("Irpw"), Text("righ"), Text("t x6"), Text("4 pr")),
            0x8000_0003 => (Text("oces"), Text("sor\0"), 0u, 0u),
            0x8000_0008 => (0x3028u, 0u, 0u, 0u),
            _ => (0u, 0u, 0u, 0u),
        };
        (cpu->Rax, cpu->Rbx, cpu->Rcx, cpu->Rdx) = (a, b, c, d);
    }

    static uint Text(string four) => (uint)(four[0] | four[1] << 8 | four[2] << 16 | four[3] << 24);
}
