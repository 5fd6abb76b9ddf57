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

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu:
                return EmitWhole(chain, instruction, aligned: false);
            case Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa or Mnemonic.Movntdq or Mnemonic.Movntps or Mnemonic.Movntpd:
                return EmitWhole(chain, instruction, aligned: true);
            case Mnemonic.Movss: return EmitScalar<W32>(chain, instruction);
            case Mnemonic.Movsd when !instruction.IsStringInstruction: return EmitScalar<W64>(chain, instruction);
            case Mnemonic.Movd or Mnemonic.Movq when !UsesMmx(instruction): return EmitGeneral(chain, instruction);
            case Mnemonic.Movlps or Mnemonic.Movlpd: return EmitHalf(chain, instruction, 0, 0);
            case Mnemonic.Movhps or Mnemonic.Movhpd: return EmitHalf(chain, instruction, 8, 8);
            case Mnemonic.Movlhps: return EmitHalf(chain, instruction, 8, 0);
            case Mnemonic.Movhlps: return EmitHalf(chain, instruction, 0, 8);
            case Mnemonic.Movnti:
                ref Op op = ref chain.AddWithOperands<TMode>(instruction);
                op.Handler = instruction.Op1Register.GetSize() == 4 ? &StoreLow<W32> : &StoreLow<W64>;
                return true;
            default: return false;
        }
    }

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
