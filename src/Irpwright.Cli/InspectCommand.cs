using System.CommandLine;
using Irpwright.Guest.Images;
using Irpwright.Reporting;

namespace Irpwright.Cli;

/// <summary><c>irpwright inspect</c>.</summary>
static class InspectCommand
{
    public static Command Create(Terminal terminal)
    {
        var driver = new Argument<string>("DRIVER") { Description = "A .sys file" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("inspect", """
            Show what can be told about a compiled driver without running it: imports and whether they are supported, sections, exports, device
            names, control codes.

            Example:
              irpwright inspect queue.sys
            """)
        {
            driver, json,
        };
        command.SetAction(parsed =>
        {
            if (!PortableExecutable.TryReadFile(parsed.GetValue(driver)!, out PortableExecutable? image, out ImageDiagnostic? error))
                throw CommandException.BadInput(error.ToString());
            ImageReport report = ImageReport.Create(image, DriverImageLoader.IsSupported);
            foreach (ImageDiagnostic warning in image.Warnings) terminal.Complain($"warning: {warning}");
            ImageText.Write(terminal.Output, report);
            return ExitCode.Clean;
        });
        return command;
    }
}
