using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Loads, stores and moves of xmm registers, whole and in parts.</summary>
static unsafe class VectorMove<TMode> where TMode : struct, IMode
{
    /// <summary>16 bytes into a register, from anywhere.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Load<TFrom>(Cpu* cpu, Op* op) where TFrom : struct, IOperand
    {
        byte* from = TFrom.Locate<TMode>(cpu, op, 16, PageAccess.Read);
        if (TFrom.CanFault && from == null) return TMode.Missed(cpu, op);
        if (op->Extra != 0 && ((nuint)from & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        *(Vector128<byte>*)((byte*)cpu + op->Destination) = *(Vector128<byte>*)from;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Store<TTo>(Cpu* cpu, Op* op) where TTo : struct, IOperand
    {
        byte* to = TTo.Locate<TMode>(cpu, op, 16, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        if (op->Extra != 0 && ((nuint)to & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        *(Vector128<byte>*)to = *(Vector128<byte>*)((byte*)cpu + op->Source);
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A number of 4 or 8 bytes into the low end of a register; the rest becomes zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadLow<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        *(Vector128<ulong>*)((byte*)cpu + op->Destination) = Vector128.CreateScalar(TWidth.Load(from));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>4 or 8 bytes from <see cref="Op.Source"/> to an r/m operand, which may be a general register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreLow<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* to = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        RegisterOrMemory.Store<TWidth>(op, to, TWidth.Load((byte*)cpu + op->Source));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A part of a register is replaced, the rest stays: <see cref="Op.Destination"/> points at the part.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Merge<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* from = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        TWidth.Store((byte*)cpu + op->Destination, TWidth.Load(from));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>pextr: an element, extended if it goes to a register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Extract<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        byte* to = RegisterOrMemory.Locate<TMode>(cpu, op, TWidth.Size, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        ulong value = TWidth.Load((byte*)cpu + op->Source);
        if (op->IsMemory) TWidth.Store(to, value);
        else *(ulong*)to = value;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>maskmovdqu: stores the bytes whose mask byte is negative at rdi; none if one of them cannot be.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreMasked(Cpu* cpu, Op* op) => TryStoreMasked(cpu, op) ? TMode.Next(cpu, op + 1) : null;

    static bool TryStoreMasked(Cpu* cpu, Op* op)
    {
        byte* from = (byte*)cpu + op->Destination, mask = (byte*)cpu + op->Source;
        byte** to = stackalloc byte*[16];
        for (int i = 0; i < 16; i++)
        {
            if ((mask[i] & 0x80) == 0) continue;
            to[i] = TMode.TranslateNow(cpu, op, cpu->Rdi + (ulong)i, 1, PageAccess.Write);
            if (to[i] == null) return false;
            if (cpu->PendingSize != 0) return Refuse(cpu, op);
        }
        for (int i = 0; i < 16; i++)
        {
            if ((mask[i] & 0x80) != 0) *to[i] = from[i];
        }
        return true;
    }

    /// <summary>A device would have to take its bytes one by one.</summary>
    static bool Refuse(Cpu* cpu, Op* op)
    {
        cpu->PendingSize = 0;
        Stop.Because(cpu, op, StopReason.Unimplemented);
        return false;
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu:
                return EmitWhole(chain, instruction, aligned: false);
            case Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa or Mnemonic.Movntdq or Mnemonic.Movntps or Mnemonic.Movntpd
                or Mnemonic.Movntdqa:
                return EmitWhole(chain, instruction, aligned: true);
            case Mnemonic.Movss: return EmitScalar<W32>(chain, instruction);
            case Mnemonic.Movsd when !instruction.IsStringInstruction: return EmitScalar<W64>(chain, instruction);
            case Mnemonic.Movd or Mnemonic.Movq when !UsesMmx(instruction): return EmitGeneral(chain, instruction);
            case Mnemonic.Movlps or Mnemonic.Movlpd: return EmitHalf(chain, instruction, 0, 0);
            case Mnemonic.Movhps or Mnemonic.Movhpd: return EmitHalf(chain, instruction, 8, 8);
            case Mnemonic.Movlhps: return EmitHalf(chain, instruction, 8, 0);
            case Mnemonic.Movhlps: return EmitHalf(chain, instruction, 0, 8);
            case Mnemonic.Pinsrb: return EmitInsert<W8>(chain, instruction, &Merge<W8>);
            case Mnemonic.Pinsrw when !UsesMmx(instruction): return EmitInsert<W16>(chain, instruction, &Merge<W16>);
            case Mnemonic.Pinsrd: return EmitInsert<W32>(chain, instruction, &Merge<W32>);
            case Mnemonic.Pinsrq: return EmitInsert<W64>(chain, instruction, &Merge<W64>);
            case Mnemonic.Pextrb: return EmitExtract<W8>(chain, instruction);
            case Mnemonic.Pextrw when !UsesMmx(instruction): return EmitExtract<W16>(chain, instruction);
            case Mnemonic.Pextrd or Mnemonic.Extractps: return EmitExtract<W32>(chain, instruction);
            case Mnemonic.Pextrq: return EmitExtract<W64>(chain, instruction);
            case Mnemonic.Maskmovdqu when instruction.Op0Kind == OpKind.MemorySegRDI && !HasSegmentBase(instruction):
                ref Op masked = ref chain.Add(instruction);
                (masked.Destination, masked.Source) = (OperandEncoding.OffsetOf(instruction.Op1Register), OperandEncoding.OffsetOf(instruction.Op2Register));
                masked.Handler = &StoreMasked;
                return true;
            case Mnemonic.Movnti:
                ref Op op = ref chain.AddWithOperands<TMode>(instruction);
                op.Handler = instruction.Op1Register.GetSize() == 4 ? &StoreLow<W32> : &StoreLow<W64>;
                return true;
            default: return false;
        }
    }

    static bool HasSegmentBase(in Instruction instruction) => instruction.SegmentPrefix is Register.FS or Register.GS;

    /// <summary>The constant chooses the element, which is part of the register.</summary>
    static bool EmitInsert<TWidth>(Chain chain, in Instruction instruction, Handler merge) where TWidth : struct, IWidth
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 1);
        op.Destination += PartOf<TWidth>(instruction);
        op.Handler = merge;
        return true;
    }

    static bool EmitExtract<TWidth>(Chain chain, in Instruction instruction) where TWidth : struct, IWidth
    {
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, 0);
        op.Source += PartOf<TWidth>(instruction);
        op.Handler = &Extract<TWidth>;
        return true;
    }

    static ushort PartOf<TWidth>(in Instruction instruction) where TWidth : struct, IWidth =>
        (ushort)((instruction.Immediate8 * TWidth.Size) & 15);

    public static bool UsesMmx(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register && instruction.GetOpRegister(i).IsMM()) return true;
        }
        return false;
    }

    static bool EmitWhole(Chain chain, in Instruction instruction, bool aligned)
    {
        ref Op op = ref chain.AddWithOperands<TMode>(instruction);
        op.Extra = aligned && op.IsMemory ? (byte)1 : (byte)0;
        op.Handler = OperandEncoding.FormOf(instruction, op) switch
        {
            Form.RegisterRegister => &Load<Second>,
            Form.RegisterNear => &Load<Near>,
            Form.RegisterFar => &Load<Far>,
            Form.NearRegister => &Store<Near>,
            _ => &Store<Far>,
        };
        return true;
    }

    /// <summary>movss and movsd: from memory they clear the rest, from a register they leave it.</summary>
    static bool EmitScalar<TWidth>(Chain chain, in Instruction instruction) where TWidth : struct, IWidth
    {
        bool stores = instruction.Op0Kind == OpKind.Memory;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, stores ? 0 : 1);
        op.Handler = stores ? &StoreLow<TWidth> : op.IsMemory ? &LoadLow<TWidth> : &Merge<TWidth>;
        return true;
    }

    /// <summary>movd and movq between xmm registers, general registers and memory.</summary>
    static bool EmitGeneral(Chain chain, in Instruction instruction)
    {
        bool toVector = instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsXMM();
        int size = OperandEncoding.SizeOf(instruction, toVector ? 1 : 0);
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, toVector ? 1 : 0);
        op.Handler = (toVector, size) switch
        {
            (true, 4) => &LoadLow<W32>,
            (true, _) => &LoadLow<W64>,
            (false, 4) => &StoreLow<W32>,
            _ => &StoreLow<W64>,
        };
        return true;
    }

    static bool EmitHalf(Chain chain, in Instruction instruction, int destinationHalf, int sourceHalf)
    {
        bool stores = instruction.Op0Kind == OpKind.Memory;
        ref Op op = ref chain.AddWithRegisterOrMemory<TMode>(instruction, stores ? 0 : 1);
        if (!stores) op.Destination += (ushort)destinationHalf;
        if (stores) op.Source += (ushort)sourceHalf;
        else if (!op.IsMemory) op.Base += (ushort)sourceHalf;
        op.Handler = stores ? &StoreLow<W64> : &Merge<W64>;
        return true;
    }
}
