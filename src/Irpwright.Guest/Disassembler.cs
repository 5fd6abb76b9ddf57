using Iced.Intel;
using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;

namespace Irpwright.Guest;

/// <summary>Writes instructions as WinDbg does.</summary>
static class Disassembler
{
    const int Before = 4, After = 3;

    /// <summary>The instructions around one of an image.</summary>
    /// <param name="address">The instruction, or the one behind it if <paramref name="isAt"/> is false.</param>
    public static IReadOnlyList<CodeLine> Around(DriverImage image, ulong address, bool isAt, Func<ulong, string?>? symbolAt)
    {
        List<Instruction> before = UpTo(image, address);
        if (!isAt && before.Count == 0) return [];
        ulong fault = isAt ? address : before[^1].IP;
        List<Instruction> instructions = [.. before.TakeLast(isAt ? Before : Before + 1)];
        int end = instructions.Count + After + (isAt ? 1 : 0);
        for (ulong next = address; instructions.Count < end && image.Contains(next);)
        {
            Instruction instruction = Interpreter.Decode(next);
            if (instruction.Length == 0) break;
            instructions.Add(instruction);
            next = instruction.NextIP;
        }
        var formatter = new MasmFormatter(new Symbols(symbolAt)) { Options = { FirstOperandCharIndex = 8, MemorySizeOptions = MemorySizeOptions.Always, ShowBranchSize = false } };
        return [.. instructions.Select(instruction => Line(formatter, instruction, instruction.IP == fault))];
    }

    /// <summary>The instructions of the function before an address; none where it is not known where they begin.</summary>
    static List<Instruction> UpTo(DriverImage image, ulong address)
    {
        var found = new List<Instruction>();
        uint rva = (uint)(address - image.Base);
        uint? start = image.File.FunctionAt(rva - 1)?.BeginAddress ?? (image.File.SymbolAt(rva) is { } symbol ? rva - symbol.Offset : null);
        for (ulong at = image.Base + start ?? address; at < address;)
        {
            Instruction instruction = Interpreter.Decode(at);
            if (instruction.IsInvalid || instruction.NextIP > address) return [];
            found.Add(instruction);
            at = instruction.NextIP;
        }
        return found;
    }

    static CodeLine Line(MasmFormatter formatter, Instruction instruction, bool isFault)
    {
        var text = new StringOutput();
        formatter.Format(instruction, text);
        return new CodeLine(instruction.IP, Interpreter.BytesOf(instruction), text.ToString(), isFault);
    }

    /// <summary>Names addresses: <c>passthrough!PassDone (ffffa000`01001040)</c>.</summary>
    sealed class Symbols(Func<ulong, string?>? symbolAt) : ISymbolResolver
    {
        public bool TryGetSymbol(in Instruction instruction, int operand, int instructionOperand, ulong address, int addressSize, out SymbolResult symbol)
        {
            bool isAddress = instruction.IsIPRelativeMemoryOperand || instruction.IsCallNear || instruction.IsJmpShortOrNear || instruction.IsJccShortOrNear;
            string text = symbolAt?.Invoke(address) is { } name ? $"{name} ({Format.Address(address)})" : Format.Address(address);
            symbol = new SymbolResult(address, text);
            return isAddress && addressSize == 8;
        }
    }
}
