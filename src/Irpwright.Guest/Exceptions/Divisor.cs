using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Wdk;

namespace Irpwright.Guest.Exceptions;

/// <summary>Tells the two reasons of a divide error apart, which have one vector but two status codes.</summary>
static unsafe class Divisor
{
    public static bool IsZero(Cpu* cpu, ulong rip)
    {
        Instruction instruction = Interpreter.Decode(rip);
        int size = instruction.Op0Kind == OpKind.Register ? instruction.Op0Register.GetSize() : instruction.MemorySize.GetSize();
        return Value(cpu, instruction, size) == 0;
    }

    static ulong Value(Cpu* cpu, in Instruction instruction, int size)
    {
        if (instruction.Op0Kind == OpKind.Register)
        {
            byte* register = (byte*)cpu + OperandEncoding.OffsetOf(instruction.Op0Register);
            return Truncate(register, size);
        }
        ulong address = instruction.GetVirtualAddress(0, 0, (register, _, _) => register switch
        {
            Register.GS => cpu->GsBase,
            Register.FS => cpu->FsBase,
            _ when register.IsGPR() => Truncate((byte*)cpu + OperandEncoding.OffsetOf(register), register.GetSize()),
            _ => 0,
        });
        return GuestMemory.TryTranslate(address, (ulong)size, PageAccess.Read, out byte* host, out _) ? Truncate(host, size) : 1;
    }

    static ulong Truncate(byte* from, int size) => size switch
    {
        1 => *from,
        2 => *(ushort*)from,
        4 => *(uint*)from,
        _ => *(ulong*)from,
    };
}
