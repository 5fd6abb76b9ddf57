using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Irpwright.Guest.Processor;

/// <summary>in and out; ins and outs are strings.</summary>
static unsafe class Ports<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Input<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (cpu->OnPortRead == null) return Stop.Because(cpu, op, StopReason.Privileged);
        cpu->Rip = cpu->CodeBase + op->Offset;
        TWidth.StoreRegister((byte*)&cpu->Rax, cpu->OnPortRead(cpu, PortOf(cpu, op), TWidth.Size));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Output<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (cpu->OnPortWrite == null) return Stop.Because(cpu, op, StopReason.Privileged);
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnPortWrite(cpu, PortOf(cpu, op), TWidth.Size, TWidth.Load((byte*)&cpu->Rax));
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>A constant, or dx.</summary>
    static ushort PortOf(Cpu* cpu, Op* op) => (ushort)(op->Extra != 0 ? cpu->Rdx : op->Immediate);

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        bool input = instruction.Mnemonic == Mnemonic.In;
        if (!input && instruction.Mnemonic != Mnemonic.Out) return false;
        ref Op op = ref chain.Add(instruction);
        int port = input ? 1 : 0;
        if (instruction.GetOpKind(port) == OpKind.Register) op.Extra = 1;
        else op.Immediate = instruction.Immediate8;
        op.Handler = instruction.GetOpRegister(1 - port).GetSize() switch
        {
            1 => input ? &Input<W8> : &Output<W8>,
            2 => input ? &Input<W16> : &Output<W16>,
            _ => input ? &Input<W32> : &Output<W32>,
        };
        return true;
    }
}
